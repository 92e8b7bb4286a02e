r"""Plain numbers with their units, read without a parser of mathematics: exact, bounded, linear in the text.

A plain number is an integer, decimal, fraction, mixed number or a number in scientific notation, with
thousands separators, a currency sign, a percent sign or a unit, in plain text or LaTeX.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from mindgap_data.verify.math.units import NO_UNIT, Unit, parse_unit

MAX_TEXT = 1_200
MAX_DIGITS = 400
MAX_EXPONENT = 400
SIGNIFICANT = 6

_INTEGER = (
    r"(?:[0-9]{1,3}(?:(?:,|\{,\}|,?(?:\\[!,; ] ?){1,2})[0-9]{3})+(?![0-9])"
    r"|[0-9]{1,3}(?: [0-9]{3})+(?![0-9])|[0-9]+)"
)
_POWER = r"(?:-?[0-9]{1,9}|\{ ?[-+]?[0-9]{1,9} ?\}|\( ?[-+]?[0-9]{1,9} ?\))"
_NUMBER = re.compile(
    rf"(?P<sign>[-+]?) ?(?P<currency>\\?[$\u20ac\u00a3]|\\text\{{ ?\\?\$ ?\}})? ?(?P<sign2>-?) ?(?:"
    rf"10 ?(?:\^|\*\*) ?(?P<power_of_ten>{_POWER})"
    r"|(?:(?P<whole>[0-9]+)(?: |\\ |\\,|(?=\\)) ?)?"
    r"\\[dtc]?frac *(?:\{ *(?P<n>[0-9]+) *\}|(?P<n1>[0-9])) *(?:\{ *(?P<d>[0-9]+) *\}|(?P<d1>[0-9]))"
    r"|(?P<whole2>[0-9]+) +(?P<n2>[0-9]+) ?/ ?(?P<d2>[0-9]+)"
    rf"|(?P<n3>{_INTEGER}) ?/ ?(?P<d3>{_INTEGER})"
    rf"|(?P<decimal>{_INTEGER}(?:\.[0-9]*)?|\.[0-9]+)"
    rf"(?:[eE](?P<e>[-+]?[0-9]{{1,9}})(?![0-9A-Za-z])"
    rf"| ?(?:\\times|\\cdot|\*|x|\u00d7) ?10 ?(?:\^|\*\*) ?(?P<power>{_POWER}))?"
    r")(?![0-9])"
)
_REPEATING = re.compile(r"(-?)([0-9]{0,18})\.([0-9]{0,18})\\(?:overline|bar) ?\{?([0-9]{1,18})\}?")
_COMPOUND = re.compile(
    r"([0-9]{1,9})[ ~]*(?:\\text *\{ *)?([a-z]{1,12})(?: *\})?[, ]*(?:(?:\\text *\{ *)?and(?![a-z]))?(?: *\})?[, ~]*"
    r"([0-9]{1,9}(?:\.[0-9]{1,9})?)[ ~]*(?:\\text *\{ *)?([a-z]{1,12})(?: *\})?\.?"
)
_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_MINUS = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2010": "-", "\u2011": "-", "\u00a0": " ", "\u202f": " "})
_CURRENCY = {"$": "$", "\u20ac": "\u20ac", "\u00a3": "\u00a3"}


@dataclass(frozen=True)
class Quantity:
    """A plain number and what it counts."""

    value: Fraction
    unit: Unit = NO_UNIT
    # digits after the point of a number written as a decimal; None for integers and fractions
    decimals: int | None = None


def parse_plain(text: str) -> Quantity | None:
    """The plain number ``text`` is, or None when it is anything else or beyond the bounds."""
    if len(text) > MAX_TEXT:
        return None
    if len(text) <= 15 and text.isascii() and text.isdigit():
        return Quantity(Fraction(int(text)))
    text = undelimited(text.translate(_MINUS).strip())
    compound = _COMPOUND.fullmatch(text)
    if compound:
        return _compound(*compound.groups())
    repeating = _REPEATING.fullmatch(text)
    if repeating:
        return Quantity(_repeating(*repeating.groups()))
    match = _NUMBER.match(text)
    if match is None or (match["sign"] and match["sign2"]):
        return None
    value = _value(match)
    unit = parse_unit(text[match.end() :])
    if value is None or unit is None:
        return None
    if match["currency"]:
        unit = _with_currency(unit, match["currency"])
        if unit is None:
            return None
    decimal = match["decimal"] or ""
    decimals = len(decimal.partition(".")[2]) if "." in decimal and not (match["e"] or match["power"]) else None
    negative = "-" in (match["sign"], match["sign2"])
    value = -value if negative else value
    return Quantity(value if unit.scale == 1 else value * unit.scale, unit, decimals)


def same_quantity(gold: Quantity, other: Quantity) -> bool:
    """Whether two plain numbers say the same. The values are exact; only a decimal may stand for a fraction
    that has no end as a decimal (0.333333 for 1/3), when it gives ``SIGNIFICANT`` digits behind the
    point, rounded.

    A unit on one side only is passed over; two known units must be of one dimension and are converted;
    two unknown ones ("apples", "red apples") must share a word. 50% is 0.5 and, where the other side
    has no unit and is above 1, also 50.
    """
    if (rounds_to(gold, other.value) and other.decimals is None) or (
        rounds_to(other, gold.value) and gold.decimals is None
    ):
        gold = Quantity(other.value, gold.unit)
    if gold.unit.percent != other.unit.percent:
        return _same_percent(gold, other) if gold.unit.percent else _same_percent(other, gold)
    if gold.unit.bare or other.unit.bare or gold.unit.percent:
        return gold.value == other.value
    if gold.unit.words or other.unit.words:
        return gold.value == other.value and bool(gold.unit.words & other.unit.words)
    if gold.unit.dimensions != other.unit.dimensions:
        return False
    return gold.value * gold.unit.factor == other.value * other.unit.factor


def rounds_to(decimal: Quantity, value: Fraction) -> bool:
    """Whether ``decimal`` is ``value``, endless as a decimal, rounded to ``SIGNIFICANT`` digits or more."""
    if (decimal.decimals or 0) < SIGNIFICANT or _terminates(value.denominator):
        return False
    assert decimal.decimals is not None
    written = abs(decimal.value) * 10**decimal.decimals
    off = abs(decimal.value - value) * 10**decimal.decimals
    return bool(written >= 10 ** (SIGNIFICANT - 1) and 2 * off <= 1)


def _terminates(denominator: int) -> bool:
    while denominator % 10 == 0:
        denominator //= 10
    for factor in (2, 5):
        while denominator % factor == 0:
            denominator //= factor
    return denominator == 1


def undelimited(text: str) -> str:
    """``text`` without the math delimiters around it."""
    for left, right in _DELIMITERS:
        if text.startswith(left) and text.endswith(right) and len(text) > len(left) + len(right):
            inner = text[len(left) : -len(right)]
            if left not in inner and right not in inner:
                return inner.strip()
    return text


def _compound(first: str, first_unit: str, second: str, second_unit: str) -> Quantity | None:
    """3 hours 20 minutes, 5 feet 2 inches: the sum, where the second unit is a part of the first."""
    above, below = parse_unit(f" {first_unit}"), parse_unit(f" {second_unit}")
    if above is None or below is None or not above.dimensions or above.dimensions != below.dimensions:
        return None
    parts = above.factor / below.factor
    rest = Fraction(second)
    return Quantity(int(first) * parts + rest, below) if rest < parts else None


def _repeating(sign: str, whole: str, fixed: str, period: str) -> Fraction:
    """0.1\\overline{6}: the fixed digits, and the period over as many nines behind them."""
    value = Fraction(int((whole + fixed) or "0")) + Fraction(int(period), 10 ** len(period) - 1)
    value = value / 10 ** len(fixed)
    return Fraction(-value if sign else value)


def _value(match: re.Match[str]) -> Fraction | None:
    if match["power_of_ten"]:
        return _power_of_ten(match["power_of_ten"])
    if match["decimal"]:
        value = _decimal(match["decimal"])
        exponent = match["e"] or match["power"]
        if not exponent:
            return value
        scale = _power_of_ten(exponent)
        return None if value is None or scale is None else value * scale
    whole = match["whole"] or match["whole2"] or "0"
    numerator = match["n"] or match["n1"] or match["n2"] or match["n3"]
    denominator = match["d"] or match["d1"] or match["d2"] or match["d3"]
    if max(len(whole), len(numerator), len(denominator)) > MAX_DIGITS:
        return None
    below = int(_digits(denominator))
    return int(whole) + Fraction(int(_digits(numerator)), below) if below else None


def _decimal(text: str) -> Fraction | None:
    whole, _, part = text.partition(".")
    whole = _digits(whole)
    if len(whole) + len(part) > MAX_DIGITS:
        return None
    return Fraction(int((whole + part) or "0"), 10 ** len(part)) if part else Fraction(int(whole or "0"))


def _power_of_ten(text: str) -> Fraction | None:
    exponent = int(text.strip("{}() "))
    return Fraction(10) ** exponent if abs(exponent) <= MAX_EXPONENT else None


def _digits(text: str) -> str:
    return text if text.isdigit() else re.sub(r"[^0-9]", "", text)


def _with_currency(unit: Unit, sign: str) -> Unit | None:
    """The unit of an amount with a currency sign before it: nothing but the same currency may follow."""
    currency = parse_unit(next(known for known in _CURRENCY if known in sign))
    assert currency is not None
    if unit.percent or (unit.dimensions and unit.dimensions != currency.dimensions) or unit.factor != 1:
        return None
    return Unit(unit.scale, dimensions=currency.dimensions, factor=currency.factor)


def _same_percent(percent: Quantity, other: Quantity) -> bool:
    """50% against a number without percent sign."""
    if not other.unit.bare:
        return False
    as_fraction = percent.value / 100 == other.value
    return as_fraction or (percent.value == other.value and abs(other.value) > 1) or percent.value == other.value == 0
