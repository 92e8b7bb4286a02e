"""Sums, differences and products of plain numbers that nobody has worked out: no answer where a number is asked for."""

from mindgap_data.verify.math.expression import Node, parse
from mindgap_data.verify.math.kinds import Approximate, Formula, Relation
from mindgap_data.verify.math.latex import UnreadableError, normalise
from mindgap_data.verify.math.plain import Quantity, parse_plain
from mindgap_data.verify.math.reading import read
from mindgap_data.verify.math.tokens import UnsupportedError


def is_unfinished(text: str) -> bool:
    """Whether an answer still has plain numbers to add, subtract or multiply: "6 + 1", "x = 2(3 + 4)".

    Fractions, powers, roots and factorials are answers as they stand, and so is 3 \\times 10^5. Of equal
    sides one has to be worked out: "6 + 1 = 7" is.
    """
    try:
        answer = read(normalise(text))
    except UnreadableError:
        return False
    if isinstance(answer, Approximate):
        answer = read(answer.text)
    if isinstance(answer, Relation):
        sides = [read(side) for side in answer.sides]
        if any(isinstance(side, Quantity) for side in sides):
            return False
        constants = [side.text for side in sides if isinstance(side, Formula) and _constant(side.text) is not None]
        return bool(constants) and all(_has_work(text) for text in constants)
    return isinstance(answer, Formula) and _has_work(answer.text)


def _constant(text: str) -> Node | None:
    try:
        node = parse(text)
    except UnsupportedError:
        return None
    return None if node.names() else node


def _has_work(text: str) -> bool:
    node = None if parse_plain(text) is not None else _constant(text)
    return node is not None and any(
        part.kind in {"add", "mul"} and all(_is_plain(arg) for arg in part.args) for part in _parts(node)
    )


def _parts(node: Node) -> list[Node]:
    return [node, *(part for arg in node.args for part in _parts(arg))]


def _is_plain(node: Node) -> bool:
    """A number, a fraction of numbers, or more work on such."""
    return node.kind == "num" or (
        node.kind in {"neg", "div", "add", "mul"} and all(_is_plain(arg) for arg in node.args)
    )
