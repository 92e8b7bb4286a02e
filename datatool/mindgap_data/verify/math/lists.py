r"""Several answers against several: in order for pairs and vectors, in any order for lists and sets."""

from collections.abc import Sequence

from mindgap_data.verify.math.kinds import Answer, Bracketed, Items, Matrix, Relation, Union
from mindgap_data.verify.math.latex import compact
from mindgap_data.verify.math.reading import read
from mindgap_data.verify.math.relations import Same, named


def same_collection(gold: Items | Bracketed | Union, other: Items | Bracketed | Union, same: Same) -> bool:
    """Lists, sets, pairs, vectors and intervals; ``same`` compares their items."""
    if isinstance(gold, Union) or isinstance(other, Union):
        parts = [side.parts if isinstance(side, Union) else None for side in (gold, other)]
        return parts[0] is not None and parts[1] is not None and _matched(parts[0], parts[1], same)
    if isinstance(gold, Bracketed) and isinstance(other, Bracketed):
        if len(gold.items) == 2 and "<" not in (gold.left, other.left):
            if (gold.left, gold.right) != (other.left, other.right):
                return False
        elif gold.right in ")>]" and (gold.left, gold.right) in {("(", "]"), ("[", ")")}:
            return False
        return all_same(gold.items, other.items, same)
    if isinstance(gold, Items) and isinstance(other, Items):
        left, right = _without_names(gold.items, same), _without_names(other.items, same)
        if gold.is_set or other.is_set:
            left, right = tuple(dict.fromkeys(left)), tuple(dict.fromkeys(right))
        return _matched(left, right, same)
    items, bracketed = (gold, other) if isinstance(gold, Items) else (other, gold)
    assert isinstance(items, Items)
    assert isinstance(bracketed, Bracketed)
    # "x = 1, y = 2" and "1, 2" may be a pair, and [1, 2, 3] a list in code; a set is neither, nor is an interval.
    brackets = (bracketed.left, bracketed.right)
    if (
        items.is_set
        or bracketed.from_inequality
        or not (brackets == ("(", ")") or (brackets == ("[", "]") and len(bracketed.items) > 2))
    ):
        return False
    return all_same(_without_names(items.items, same), bracketed.items, same)


def _without_names(items: tuple[str, ...], same: Same) -> tuple[str, ...]:
    """Values of "x = 1, x = 2"; with different names sorted by name, so that y = 2, x = 1 is x = 1, y = 2."""
    found = [named(answer, same) if isinstance(answer := read(item), Relation) else None for item in items]
    pairs = [pair for pair in found if pair is not None]
    if not pairs:
        return items
    names = {compact(name) for name, _ in pairs}
    if len(names) == 1:
        return tuple(pair[1] if pair else item for pair, item in zip(found, items, strict=True))
    if len(pairs) == len(items) == len(names):
        return tuple(f"{compact(name)}={value}" for name, value in sorted(pairs))
    return items


def same_matrix(gold: Answer, other: Answer, same: Same) -> bool:
    """Matrices, also [[1, 2], [3, 4]]; a column is the vector (1, 2), too."""
    left, right = _as_matrix(gold), _as_matrix(other)
    if left is not None and right is not None:
        return len(left.rows) == len(right.rows) and all_same(_cells(left), _cells(right), same)
    column, vector = (left, other) if left is not None else (right, gold)
    if column is None or not isinstance(vector, Bracketed) or vector.left not in "(<":
        return False
    pair = (_cells(column), vector.items) if column is left else (vector.items, _cells(column))
    return all(len(row) == 1 for row in column.rows) and all_same(pair[0], pair[1], same)


def _as_matrix(answer: Answer) -> Matrix | None:
    if isinstance(answer, Matrix):
        return answer
    if not isinstance(answer, Bracketed) or answer.left != "[":
        return None
    rows = [row.items if isinstance(row := read(item), Bracketed) and row.left == "[" else () for item in answer.items]
    return Matrix(tuple(rows)) if len({len(row) for row in rows}) == 1 and rows[0] else None


def _cells(matrix: Matrix) -> list[str]:
    return [cell for row in matrix.rows for cell in row]


def all_same(gold: Sequence[str], other: Sequence[str], same: Same) -> bool:
    """Whether the items are the same, one by one."""
    if len(gold) != len(other):
        return False
    values = [_value_of(item, same) for item in gold], [_value_of(item, same) for item in other]
    return all(same(left, right) for left, right in zip(*values, strict=True))


def _value_of(item: str, same: Same) -> str:
    answer = read(item)
    name = named(answer, same) if isinstance(answer, Relation) else None
    return name[1] if name else item


def _matched(gold: Sequence[str], other: Sequence[str], same: Same) -> bool:
    """Whether the items pair off, in any order."""
    if len(gold) != len(other):
        return False
    left = list(other)
    for item in gold:
        found = next((at for at, candidate in enumerate(left) if same(item, candidate)), None)
        if found is None:
            return False
        left.pop(found)
    return True
