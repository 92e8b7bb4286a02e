r"""What an equation says: the value of a name, or one constant written in several ways; and whether it is true."""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from mindgap_data.verify.math.canonical import canonical, is_name
from mindgap_data.verify.math.evaluation import approximate
from mindgap_data.verify.math.kinds import Answer, Approximate, Formula, Matrix, Relation
from mindgap_data.verify.math.latex import compact
from mindgap_data.verify.math.options import words_of
from mindgap_data.verify.math.plain import Quantity, parse_plain
from mindgap_data.verify.math.reading import read
from mindgap_data.verify.math.values import parsed

Same = Callable[[str, str], bool]  # whether two normalised texts say the same


def named(relation: Relation, same: Same) -> tuple[str, str] | None:
    """(name, value) of "name = value", its sides being consistent; else None."""
    if set(relation.signs) - {"=", "~"}:
        return None
    first, last = relation.sides[0], relation.sides[-1]
    if is_name(first) and _consistent(relation.sides[1:], same):
        return first, last
    if len(relation.sides) == 2 and is_name(last):
        return last, first
    return None


def stated(relation: Relation, same: Same) -> list[Answer]:
    """What a reference's relation gives: the value of a name, or a constant written in several ways."""
    name = named(relation, same)
    if name is not None:
        return [Approximate(name[1]) if relation.signs[-1] == "~" else canonical(read(name[1]))]
    return [canonical(read(side)) for side in constants(relation, same)]


def constants(relation: Relation, same: Same) -> tuple[str, ...]:
    """The sides of "A = B" where all are constants or matrices, and equal."""
    nodes = [parsed(side) for side in relation.sides]
    constant = all(
        isinstance(read(side), Matrix) if node is None else not node.names() - {"i"}
        for side, node in zip(relation.sides, nodes, strict=True)
    )
    equal = not set(relation.signs) - {"=", "~"} and constant and _consistent(relation.sides, same)
    return relation.sides if equal else ()


def values(relation: Relation, same: Same) -> list[str]:
    """What a response's relation may state as its answer; empty when it states nothing, or something false."""
    if set(relation.signs) - {"=", "~"}:
        return []
    name = named(relation, same)
    if name is not None:
        return [name[1]] if name[0] != relation.sides[0] else list(relation.sides[1:])
    first, *rest = relation.sides
    node = parsed(first)
    if node is not None and node.names() - {"i"} and _consistent(rest, same):
        return [relation.sides[-1]]  # "x + y = 5"
    return list(relation.sides) if _consistent(relation.sides, same) else []


def _consistent(sides: Sequence[str], same: Same) -> bool:
    """Whether sides said to be equal are: exactly, or one as a rounding of the other."""
    return all(_close(left, right, same) for left, right in pairwise(sides))


def _close(left: str, right: str, same: Same) -> bool:
    if same(left, right):
        return True
    sizes = [approximate(node) if (node := parsed(_bare(side))) is not None else None for side in (left, right)]
    if sizes[0] is None or sizes[1] is None:
        return False
    decimal = any((number := parse_plain(side)) is not None and number.decimals for side in (left, right))
    return decimal and abs(sizes[0] - sizes[1]) <= 0.005 * max(abs(sizes[0]), abs(sizes[1]))


def _bare(side: str) -> str:
    answer = read(side)
    if isinstance(answer, Quantity):
        return f"{answer.value.numerator}/{answer.value.denominator}"
    return answer.text if isinstance(answer, Formula) else side


def same_name(left: str, right: str) -> bool:
    """Whether two names may be of one thing."""
    if compact(left) == compact(right) or words_of(left) == words_of(right):
        return True
    # A word and a symbol may name the same; so may y and f(x). Two symbols do not.
    return any(r"\text" in name or re.search(r"[A-Za-z]{4}|\(", name) for name in (left, right))
