"""The types of a table's columns, found from its rows: what fits an Arrow type, and what stays JSON text."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mindgap_data.rows.jsonl import dumps, loads

Kind = Literal["null", "bool", "int", "float", "text", "list", "object", "json"]

# An object with more different fields is a dictionary with keys of its own, no structure.
_MOST_FIELDS = 64
# Deeper than any record; Arrow and parquet recurse.
_MOST_LEVELS = 8
_LONGEST_INTEGER = 1 << 63
_SCALARS: Mapping[type, Kind] = {type(None): "null", bool: "bool", int: "int", float: "float", str: "text"}


@dataclass(frozen=True)
class Node:
    """How the values of one column, or of one field of it, are stored."""

    kind: Kind
    children: Mapping[str, "Node"] = field(default_factory=dict)  # fields of an object; "item" of a list
    optional: bool = False  # absent from some rows and null in none: null means absent

    def as_json(self) -> list[Any]:
        """For the file's metadata."""
        return [self.kind, self.optional, {name: child.as_json() for name, child in self.children.items()}]

    @classmethod
    def from_json(cls, value: list[Any]) -> "Node":
        """The inverse."""
        kind, optional, children = value
        return cls(kind, {name: cls.from_json(child) for name, child in children.items()}, optional)


class Layout:
    """What the values of one column are, over all rows seen."""

    def __init__(self, level: int = 0) -> None:
        self._kinds: set[Kind] = set()
        self._level = level
        self._count = self._objects = 0
        self._children: dict[str, Layout] = {}

    def add(self, value: Any) -> None:
        """Take in one value."""
        self._count += 1
        if self._level > _MOST_LEVELS or (self._level and len(self._children) > _MOST_FIELDS):
            self._kinds.add("json")
        elif isinstance(value, dict):
            self._kinds.add("object")
            self._objects += 1
            for name, item in value.items():
                self._child(name).add(item)
        elif isinstance(value, list):
            self._kinds.add("list")
            self._child("item")._add_items(value)
        else:
            self._add_scalars([value])

    def root(self) -> Node:
        """The node of a whole row, whose fields are the columns."""
        return Node("object", self._fields())

    def _child(self, name: str) -> "Layout":
        found = self._children.get(name)
        if found is None:
            found = self._children[name] = Layout(self._level + 1)
        return found

    def _add_items(self, values: list[Any]) -> None:
        if {list, dict}.isdisjoint(map(type, values)):
            self._add_scalars(values)  # token ids and log-probs: many, and all alike
            return
        for value in values:
            self.add(value)

    def _add_scalars(self, values: list[Any]) -> None:
        types = set(map(type, values))
        self._kinds.update(_SCALARS[one] for one in types)
        if int in types and not all(-_LONGEST_INTEGER <= v < _LONGEST_INTEGER for v in values if type(v) is int):
            self._kinds.add("json")
        if str in types and not all(_has_utf8(v) for v in values if type(v) is str):
            self._kinds.add("json")

    def _node(self, seen: int) -> Node:
        """The node, where the object it is a field of was seen so many times."""
        absent = self._count < seen
        optional = absent and "null" not in self._kinds
        kinds = self._kinds - {"null"}
        fields = self._fields() if kinds == {"object"} else {}
        if len(kinds) > 1 or kinds == {"json"} or (kinds == {"object"} and not fields) or (absent and not optional):
            return Node("json", optional=absent)
        if kinds == {"list"}:
            return Node("list", {"item": self._children["item"]._node(0)}, optional)
        return Node(next(iter(kinds), "null"), fields, optional)

    def _fields(self) -> dict[str, Node]:
        return {name: child._node(self._objects) for name, child in self._children.items()}


def node_type(node: Node) -> Any:
    """The Arrow type of a node."""
    import pyarrow

    if node.kind == "list":
        return pyarrow.list_(node_type(node.children["item"]))
    if node.kind == "object":
        return pyarrow.struct([(name, node_type(child)) for name, child in node.children.items()])
    scalars = {"null": "null", "bool": "bool", "int": "int64", "float": "float64", "text": "string", "json": "string"}
    return pyarrow.type_for_alias(scalars[node.kind])


def encode(node: Node, value: Any) -> Any:
    """A value as :func:`node_type` holds it."""
    if node.kind == "json":
        return dumps(value)
    if value is None or not node.children:
        return value
    if node.kind == "list":
        item = node.children["item"]
        return [encode(item, one) for one in value] if item.children or item.kind == "json" else value
    return {name: encode(child, value[name]) if name in value else None for name, child in node.children.items()}


def decoder(node: Node) -> Callable[[Any], Any] | None:
    """The inverse of :func:`encode`; None where the value is as it was."""
    if node.kind == "json":
        return lambda value: None if value is None else loads(value)
    if node.kind == "list":
        item = decoder(node.children["item"])
        return None if item is None else lambda value: None if value is None else [item(one) for one in value]
    if node.kind == "object":
        fields = {name: (decoder(child), child.optional) for name, child in node.children.items()}
        return lambda value: None if value is None else _object(fields, value)
    return None


def _object(fields: Mapping[str, tuple[Callable[[Any], Any] | None, bool]], value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: item if decode is None else decode(item)
        for name, (decode, optional) in fields.items()
        if not ((item := value[name]) is None and optional)
    }


def _has_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False  # half a surrogate pair: only an escape can hold it
    return True
