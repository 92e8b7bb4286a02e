r"""Whether two mathematical answers say the same: by kind of answer first, by value last."""

import re
from fractions import Fraction

from mindgap_data.verify.math.canonical import canonical
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
from mindgap_data.verify.math.lists import all_same, same_collection, same_matrix
from mindgap_data.verify.math.options import words_of
from mindgap_data.verify.math.plain import Quantity, parse_plain
from mindgap_data.verify.math.reading import read
from mindgap_data.verify.math.regions import same_region
from mindgap_data.verify.math.relations import Same, constants, named, same_name, stated, values
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
    if (same := same_region(gold, other)) is not None:
        return same
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
    if isinstance(gold, Matrix) or isinstance(other, Matrix):
        return same_matrix(gold, other, _deeper(depth))
    if isinstance(gold, Items | Bracketed | Union) and isinstance(other, Items | Bracketed | Union):
        return same_collection(gold, other, _deeper(depth))
    if isinstance(gold, Items) or isinstance(other, Items):
        single, several = (other, gold) if isinstance(gold, Items) else (gold, other)
        assert isinstance(several, Items)
        if several.is_set and depth > 1:
            return False  # the set of one thing is that thing only where it is the whole answer
        # "1/2 or 0.5" is one answer.
        once = len({compact(item) for item in several.items}) == len(several.items)
        return once and all(_same_kind(single, canonical(read(item)), depth + 1) for item in several.items)
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
        names = named(gold, _agree), named(other, _agree)
        if names[0] and names[1] and not same_name(names[0][0], names[1][0]):
            return same_equation(gold, other)
        if names[0] and names[1]:
            return _same(names[0][1], names[1][1], depth)
        if same_equation(gold, other):
            return True
        if names[0]:
            return any(_same(names[0][1], side, depth) for side in constants(other, _agree))
        return any(_same_kind(canonical(read(side)), other, depth + 1) for side in constants(gold, _agree))
    if isinstance(gold, Relation):
        return any(_same_kind(value, other, depth + 1) for value in stated(gold, _agree))
    assert isinstance(other, Relation)
    return any(_same_kind(gold, canonical(read(value)), depth + 1) for value in values(other, _agree))


def _agree(left: str, right: str) -> bool:
    """Whether two sides of one relation say the same; they are looked into no deeper than this."""
    return _same(left, right, MAX_DEPTH - 2)


def _deeper(depth: int) -> Same:
    """The comparison of what is inside."""
    return lambda gold, other: _same(gold, other, depth + 1)


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
        return all_same(gold.items, other.items, _deeper(depth)) or proportional(gold, other)
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


def number_of(text: str) -> Quantity | None:
    """The number an answer comes to: "x = 2\\sqrt{2}" is 2.828..., to double precision; None for no number."""
    try:
        answer = canonical(read(normalise(text)))
        if isinstance(answer, Relation):
            sides = values(answer, _agree)
            answer = canonical(read(sides[-1])) if sides else answer
        if isinstance(answer, Quantity):
            return answer
        node = parsed(answer.text) if isinstance(answer, Formula) else None
        value = approximate(node) if node is not None else None
    except (UnreadableError, TooBigError):
        return None
    if value is None or value.imag or not isinstance(answer, Formula):
        return None
    return Quantity(Fraction(value.real), answer.unit)
