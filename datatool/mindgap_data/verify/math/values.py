"""What is compared by value alone: numbers, formulas, digits in a base, ratios, letters, and equations."""

import re

from mindgap_data.verify.math.evaluation import approximate, equal, ratio
from mindgap_data.verify.math.exact import rational
from mindgap_data.verify.math.expression import Node, parse
from mindgap_data.verify.math.kinds import Answer, Based, Formula, Letters, Ratio, Relation, Text
from mindgap_data.verify.math.latex import compact
from mindgap_data.verify.math.plain import SIGNIFICANT, Quantity, parse_plain, same_quantity
from mindgap_data.verify.math.symbolic import math_verify_agrees
from mindgap_data.verify.math.tokens import UnsupportedError
from mindgap_data.verify.math.units import Unit


def same_value(gold: Quantity | Formula, other: Quantity | Formula) -> bool:
    """Whether two values are equal, their units agreeing; math-verify is asked what our parser cannot read."""
    if isinstance(gold, Quantity) and isinstance(other, Quantity):
        return same_quantity(gold, other)
    left, right = _value_node(gold), _value_node(other)
    if left is None or right is None:
        known = _infinite(gold, other) or not _same_unit(gold.unit, other.unit)
        return _infinite(gold, other) if known else math_verify_agrees(_latex(gold), _latex(other))
    if not _same_unit(gold.unit, other.unit):
        return False
    exact = rational(left), rational(right)
    if exact[0] is not None and exact[1] is not None:
        return same_quantity(Quantity(exact[0], gold.unit), Quantity(exact[1], other.unit))
    if equal(left, right):
        return True
    return _rounded(gold, right) or _rounded(other, left)


def is_rounded(gold: Answer, other: Answer) -> bool:
    """Whether ``gold``, a decimal that is said to be approximate, is ``other`` rounded to three digits or more."""
    if not (isinstance(gold, Quantity) and isinstance(other, Quantity | Formula) and gold.decimals):
        return False
    node = _value_node(other)
    value = approximate(node) if node is not None else None
    if value is None or value.imag or len(str(abs(int(gold.value * 10**gold.decimals)))) < 3:
        return False
    return _same_unit(gold.unit, other.unit) and _within_half(gold, value.real)


def _within_half(decimal: Quantity, value: float) -> bool:
    assert decimal.decimals is not None
    return abs(float(decimal.value) - value) <= 0.5000001 * 10.0**-decimal.decimals


def _infinite(gold: Quantity | Formula, other: Quantity | Formula) -> bool:
    texts = [compact(side.text).lstrip("+") if isinstance(side, Formula) else "" for side in (gold, other)]
    return texts[0] == texts[1] and texts[0] != ""


def _same_unit(gold: Unit, other: Unit) -> bool:
    if gold.bare or other.bare:
        return True
    if gold.words or other.words:
        return bool(gold.words & other.words)
    return (gold.percent, gold.dimensions, gold.factor) == (other.percent, other.dimensions, other.factor)


def _rounded(decimal: Quantity | Formula, exact: Node) -> bool:
    """Whether a decimal is an irrational number rounded to ``SIGNIFICANT`` digits or more."""
    if not isinstance(decimal, Quantity) or not decimal.decimals:
        return False
    digits = str(abs(int(decimal.value * 10**decimal.decimals))).lstrip("0")
    value = approximate(exact)
    if min(len(digits), decimal.decimals) < SIGNIFICANT or value is None or value.imag:
        return False
    return _within_half(decimal, value.real)


def _value_node(side: Quantity | Formula) -> Node | None:
    if isinstance(side, Quantity):
        return Node("num", value=side.value)
    return parsed(side.text)


def _latex(side: Quantity | Formula) -> str:
    if isinstance(side, Formula):
        return side.text
    return rf"\frac{{{side.value.numerator}}}{{{side.value.denominator}}}"


def parsed(text: str) -> Node | None:
    """The expression ``text`` is, or None."""
    try:
        return parse(text)
    except UnsupportedError:
        return None


_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


def same_equation(gold: Relation, other: Relation) -> bool:
    """Two equations or inequalities: one is a constant multiple of the other (a positive one, or flipped)."""
    if len(gold.sides) != 2 or len(other.sides) != 2:
        return False
    sign, its_sign = gold.signs[0], other.signs[0]
    nodes = [parsed(side) for side in (*gold.sides, *other.sides)]
    if None in nodes:
        return False
    a, b, c, d = (node for node in nodes if node is not None)
    if not a.names() | b.names() or (a.names() | b.names()) != (c.names() | d.names()):
        return False
    factor = ratio(Node("add", (a, Node("neg", (b,)))), Node("add", (c, Node("neg", (d,)))))
    if factor is None:
        return False
    if sign in _FLIPPED and factor < 0:
        its_sign = _FLIPPED.get(its_sign, its_sign)
    return sign == its_sign


def letters_of(answer: Answer) -> frozenset[str] | None:
    """The letters an answer lists, or writes together ("ACD") where the other side lists some."""
    if isinstance(answer, Letters):
        return answer.names
    text = answer.text if isinstance(answer, Formula) else answer.words.upper() if isinstance(answer, Text) else ""
    return frozenset(text) if re.fullmatch("[A-J]{2,10}", text) and len(set(text)) == len(text) else None


def same_based(gold: Answer, other: Answer) -> bool:
    """Digits must agree; a base left out on one side is the one the problem asks for."""
    if isinstance(gold, Based) and isinstance(other, Based):
        return gold == other
    based, single = (gold, other) if isinstance(gold, Based) else (other, gold)
    assert isinstance(based, Based)
    return isinstance(single, Quantity) and based.digits == str(single.value) and single.unit.bare


def proportional(gold: Ratio, other: Ratio) -> bool:
    """6:8 is 3:4, unless that is the time of day."""
    if all(re.fullmatch("[0-5][0-9]", item) for item in gold.items[1:]):
        return False
    parts = [[parse_plain(item) for item in side.items] for side in (gold, other)]
    left, right = ([part.value for part in side if part is not None and part.unit.bare] for side in parts)
    if not len(left) == len(right) == len(gold.items) == len(other.items) or 0 in left + right:
        return False
    return len({above / below for above, below in zip(left, right, strict=True)}) == 1
