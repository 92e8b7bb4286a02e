r"""Whether two mathematical answers say the same: by kind of answer first, by value last."""

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from mindgap_data.verify.math.canonical import canonical, is_name
from mindgap_data.verify.math.evaluation import approximate
from mindgap_data.verify.math.exact import TooBigError
from mindgap_data.verify.math.kinds import (
    Answer,
    Approximate,
    Based,
    Bracketed,
    Formula,
    Items,
    Letters,
    Matrix,
    Option,
    Ratio,
    Relation,
    Text,
    Union,
)
from mindgap_data.verify.math.latex import UnreadableError, compact, normalise
from mindgap_data.verify.math.plain import Quantity, parse_plain
from mindgap_data.verify.math.reading import read, words_of
from mindgap_data.verify.math.units import Unit
from mindgap_data.verify.math.values import (
    is_rounded,
    letters_of,
    parsed,
    proportional,
    same_based,
    same_equation,
    same_value,
)

MAX_DEPTH = 6


def same_answer(gold: str, other: str) -> bool:
    """Whether ``other`` says what ``gold`` does, both as they were found.

    Raises:
        UnreadableError: either is too long or hides what it says.
        TooBigError: comparing them would need numbers out of bounds.
    """
    return _same(normalise(gold), normalise(other), 0)


def _same(gold: str, other: str, depth: int) -> bool:
    if depth > MAX_DEPTH:
        return False
    if compact(gold) == compact(other) or _without_text(gold) == _without_text(other):
        return True
    verdict = _VERDICT.match(other)
    if verdict and words_of(gold) == verdict[1].lower():
        return not set(words_of(verdict[2]).split()) & {"yes", "no", "true", "false", "but", "or", "maybe"}
    left, right = read(gold), read(other)
    if isinstance(left, Relation) and isinstance(right, Relation) and same_equation(left, right):
        return True
    return _same_kind(canonical(left), canonical(right), depth + 1)


def _same_kind(gold: Answer, other: Answer, depth: int) -> bool:
    """Dispatch on the kinds; a relation or an option on one side only is opened first."""
    if isinstance(other, Approximate):
        whole = isinstance(gold, Quantity) and gold.decimals is None and gold.value.denominator == 1
        return not whole and _same_kind(gold, canonical(read(other.text)), depth)  # "about 5" for 5 is a doubt
    if isinstance(gold, Relation) or isinstance(other, Relation):
        return _same_relation(gold, other, depth)
    if isinstance(gold, Approximate):
        value = canonical(read(gold.text))
        return _same_kind(value, other, depth) or is_rounded(value, other)
    if isinstance(gold, Letters) or isinstance(other, Letters):
        names = letters_of(gold)
        return names is not None and names == letters_of(other)
    if isinstance(gold, Option) or isinstance(other, Option):
        return _same_option(gold, other, depth)
    if isinstance(gold, Quantity | Formula) and isinstance(other, Quantity | Formula):
        return same_value(gold, other)
    if isinstance(gold, Based) or isinstance(other, Based):
        return same_based(gold, other)
    if isinstance(gold, Items | Bracketed | Union) and isinstance(other, Items | Bracketed | Union):
        return _same_collection(gold, other, depth)
    if isinstance(gold, Items) or isinstance(other, Items):
        single, several = (other, gold) if isinstance(gold, Items) else (gold, other)
        assert isinstance(several, Items)
        if several.is_set and depth > 1:
            return False  # the set of one thing is that thing only where it is the whole answer
        # "1/2 or 0.5" is one answer.
        once = len({compact(item) for item in several.items}) == len(several.items)
        return once and all(_same_kind(single, canonical(read(item)), depth + 1) for item in several.items)
    if isinstance(gold, Matrix) and isinstance(other, Matrix):
        return _all_same(_cells(gold), _cells(other), depth) and len(gold.rows) == len(other.rows)
    if isinstance(gold, Text) and isinstance(other, Text):
        return gold.words.replace(" ", "") == other.words.replace(" ", "")
    if isinstance(gold, Ratio) or isinstance(other, Ratio):
        return _same_ratio(gold, other, depth)
    return False


# "No, it does not" says no; "no solution" does not.
_VERDICT = re.compile(r"(?:\\text *\{)? *(yes|no|true|false) *\}? *[,.;:(-](.*)", re.IGNORECASE | re.DOTALL)


def _without_text(text: str) -> str:
    """The words of a mixed answer as they read: "3 \\text{ hours and } 20 \\text{ minutes}"."""
    plain = re.sub(r"\\text *\{([^{}]*)\}", r" \1 ", text)
    return " ".join(re.sub(r",? and ", ", ", plain).split()).replace(" ,", ",")


# --- relations -----------------------------------------------------------------------------------


def _same_relation(gold: Answer, other: Answer, depth: int) -> bool:
    if isinstance(gold, Relation) and isinstance(other, Relation):
        named = _named(gold), _named(other)
        if named[0] and named[1] and not _same_name(named[0][0], named[1][0]):
            return same_equation(gold, other)
        if named[0] and named[1]:
            return _same(named[0][1], named[1][1], depth)
        if same_equation(gold, other):
            return True
        if named[0]:
            return any(_same(named[0][1], side, depth) for side in _constants(other))
        return any(_same_kind(canonical(read(side)), other, depth + 1) for side in _constants(gold))
    if isinstance(gold, Relation):
        return any(_same_kind(value, other, depth + 1) for value in _stated(gold))
    assert isinstance(other, Relation)
    return any(_same_kind(gold, canonical(read(value)), depth + 1) for value in _values(other))


def _named(relation: Relation) -> tuple[str, str] | None:
    """(name, value) of "name = value", its sides being consistent; else None."""
    if set(relation.signs) - {"=", "~"}:
        return None
    first, last = relation.sides[0], relation.sides[-1]
    if is_name(first) and _consistent(relation.sides[1:]):
        return first, last
    if len(relation.sides) == 2 and is_name(last):
        return last, first
    return None


def _stated(relation: Relation) -> list[Answer]:
    """What a reference's relation gives: the value of a name, or a constant written in several ways."""
    named = _named(relation)
    if named is not None:
        return [Approximate(named[1]) if relation.signs[-1] == "~" else canonical(read(named[1]))]
    return [canonical(read(side)) for side in _constants(relation)]


def _constants(relation: Relation) -> tuple[str, ...]:
    """The sides of "A = B" where all are constants or matrices, and equal."""
    nodes = [parsed(side) for side in relation.sides]
    constant = all(
        isinstance(read(side), Matrix) if node is None else not node.names() - {"i"}
        for side, node in zip(relation.sides, nodes, strict=True)
    )
    equal = not set(relation.signs) - {"=", "~"} and constant and _consistent(relation.sides)
    return relation.sides if equal else ()


def _values(relation: Relation) -> list[str]:
    """What a response's relation may state as its answer; empty when it states nothing, or something false."""
    if set(relation.signs) - {"=", "~"}:
        return []
    named = _named(relation)
    if named is not None:
        return [named[1]] if named[0] != relation.sides[0] else list(relation.sides[1:])
    first, *rest = relation.sides
    node = parsed(first)
    if node is not None and node.names() - {"i"} and _consistent(rest):
        return [relation.sides[-1]]  # "x + y = 5"
    return list(relation.sides) if _consistent(relation.sides) else []


def _consistent(sides: Sequence[str]) -> bool:
    """Whether sides said to be equal are: exactly, or one as a rounding of the other."""
    return all(_close(left, right) for left, right in pairwise(sides))


def _close(left: str, right: str) -> bool:
    if _same(left, right, MAX_DEPTH - 2):
        return True
    values = [approximate(node) if (node := parsed(_bare(side))) is not None else None for side in (left, right)]
    if values[0] is None or values[1] is None:
        return False
    decimal = any((number := parse_plain(side)) is not None and number.decimals for side in (left, right))
    return decimal and abs(values[0] - values[1]) <= 0.005 * max(abs(values[0]), abs(values[1]))


def _bare(side: str) -> str:
    answer = read(side)
    if isinstance(answer, Quantity):
        return f"{answer.value.numerator}/{answer.value.denominator}"
    return answer.text if isinstance(answer, Formula) else side


def _same_name(left: str, right: str) -> bool:
    if compact(left) == compact(right) or words_of(left) == words_of(right):
        return True
    # A word and a symbol may name the same; so may y and f(x). Two symbols do not.
    return any(r"\text" in name or re.search(r"[A-Za-z]{4}|\(", name) for name in (left, right))


# --- options, bases, texts, ratios ---------------------------------------------------------------


def _same_option(gold: Answer, other: Answer, depth: int) -> bool:
    if isinstance(gold, Option) and isinstance(other, Option):
        return gold.letter == other.letter
    option, single = (gold, other) if isinstance(gold, Option) else (other, gold)
    assert isinstance(option, Option)
    if option.value:
        value = canonical(read(option.value))
        return _same_kind(*((value, single) if option is gold else (single, value)), depth + 1)
    # A lone capital may be a variable after all.
    letter = Formula(option.letter, Unit())
    return isinstance(single, Formula) and same_value(letter, single)


def _same_ratio(gold: Answer, other: Answer, depth: int) -> bool:
    if isinstance(gold, Ratio) and isinstance(other, Ratio):
        return _all_same(gold.items, other.items, depth) or proportional(gold, other)
    ratio_, single = (gold, other) if isinstance(gold, Ratio) else (other, gold)
    assert isinstance(ratio_, Ratio)
    if len(ratio_.items) != 2 or not isinstance(single, Quantity | Formula):
        return False
    if ratio_ is other and isinstance(single, Quantity) and single.value.denominator == 1:
        return False  # who is asked for 12 and says 12:1 says something else
    parts = [parse_plain(item) for item in ratio_.items]
    if parts[0] is None or parts[1] is None or parts[1].value == 0:
        return False
    return same_value(Quantity(parts[0].value / parts[1].value), single)


# --- collections ---------------------------------------------------------------------------------


def _same_collection(gold: Items | Bracketed | Union, other: Items | Bracketed | Union, depth: int) -> bool:
    if isinstance(gold, Union) or isinstance(other, Union):
        parts = [side.parts if isinstance(side, Union) else None for side in (gold, other)]
        return parts[0] is not None and parts[1] is not None and _matched(parts[0], parts[1], depth)
    if isinstance(gold, Bracketed) and isinstance(other, Bracketed):
        if len(gold.items) == 2 and "<" not in (gold.left, other.left):
            if (gold.left, gold.right) != (other.left, other.right):
                return False
        elif gold.right in ")>]" and (gold.left, gold.right) in {("(", "]"), ("[", ")")}:
            return False
        return _all_same(gold.items, other.items, depth)
    if isinstance(gold, Items) and isinstance(other, Items):
        left, right = _without_names(gold.items), _without_names(other.items)
        if gold.is_set or other.is_set:
            left, right = tuple(dict.fromkeys(left)), tuple(dict.fromkeys(right))
        return _matched(left, right, depth)
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
    return _all_same(_without_names(items.items), bracketed.items, depth)


def _without_names(items: tuple[str, ...]) -> tuple[str, ...]:
    """Values of "x = 1, x = 2"; with different names sorted by name, so that y = 2, x = 1 is x = 1, y = 2."""
    named = [_named(answer) if isinstance(answer := read(item), Relation) else None for item in items]
    pairs = [pair for pair in named if pair is not None]
    if not pairs:
        return items
    names = {compact(name) for name, _ in pairs}
    if len(names) == 1:
        return tuple(pair[1] if pair else item for pair, item in zip(named, items, strict=True))
    if len(pairs) == len(items) == len(names):
        return tuple(f"{compact(name)}={value}" for name, value in sorted(pairs))
    return items


def _cells(matrix: Matrix) -> list[str]:
    return [cell for row in matrix.rows for cell in row]


def _all_same(gold: Sequence[str], other: Sequence[str], depth: int) -> bool:
    if len(gold) != len(other):
        return False
    drop = [_value_of(item) for item in gold], [_value_of(item) for item in other]
    return all(_same(left, right, depth + 1) for left, right in zip(*drop, strict=True))


def _value_of(item: str) -> str:
    answer = read(item)
    named = _named(answer) if isinstance(answer, Relation) else None
    return named[1] if named else item


def _matched(gold: Sequence[str], other: Sequence[str], depth: int) -> bool:
    """Whether the items pair off, in any order."""
    if len(gold) != len(other):
        return False
    left = list(other)
    for item in gold:
        found = next((at for at, candidate in enumerate(left) if _same(item, candidate, depth + 1)), None)
        if found is None:
            return False
        left.pop(found)
    return True


def number_of(text: str) -> Quantity | None:
    """The number an answer comes to: "x = 2\\sqrt{2}" is 2.828..., to double precision; None for no number."""
    try:
        answer = canonical(read(normalise(text)))
        if isinstance(answer, Relation):
            values = _values(answer)
            answer = canonical(read(values[-1])) if values else answer
        if isinstance(answer, Quantity):
            return answer
        node = parsed(answer.text) if isinstance(answer, Formula) else None
        value = approximate(node) if node is not None else None
    except (UnreadableError, TooBigError):
        return None
    if value is None or value.imag or not isinstance(answer, Formula):
        return None
    return Quantity(Fraction(value.real), answer.unit)
