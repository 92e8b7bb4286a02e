"""Numbers with a tolerance."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from mindgap_data.errors import UserError
from mindgap_data.verify import Verdict
from mindgap_data.verify.answers import find_answer, gold_answer
from mindgap_data.verify.math.closing import closing_number
from mindgap_data.verify.math.plain import Quantity, parse_plain, same_quantity
from mindgap_data.verify.math.unfinished import is_unfinished


@dataclass(frozen=True)
class NumericVerifier:
    """|response - reference| <= max(rel_tol * |reference|, abs_tol), both converted to one unit.

    Attributes:
        rel_tol: relative tolerance; a row's field ``rel_tol`` overrides it.
        abs_tol: absolute tolerance, in the reference's unit; a row's field ``abs_tol`` overrides it.
    """

    rel_tol: float = 1e-3
    abs_tol: float = 0.0
    kind: ClassVar[str] = "checked"

    def __post_init__(self) -> None:
        for name, value in (("rel_tol", self.rel_tol), ("abs_tol", self.abs_tol)):
            if not _is_tolerance(value):
                raise UserError(f"verifier 'numeric': option {name} must be a number of 0 or more, got {value!r}")

    def __call__(self, response: str, answer: str, row: Mapping[str, Any]) -> Verdict:
        """Verdict; a reference or a tolerance that is not a number is a checker error."""
        gold = _quantity(gold_answer(answer))
        tolerances = row.get("rel_tol", self.rel_tol), row.get("abs_tol", self.abs_tol)
        if gold is None or not all(_is_tolerance(value) for value in tolerances):
            return Verdict.CHECKER_ERROR
        found = find_answer(response)
        text = found.text if found else closing_number(response)
        if text is None or is_unfinished(text):
            return Verdict.NO_ANSWER
        other = _quantity(text)
        if other is None:
            return Verdict.WRONG
        relative, absolute = (Fraction(value) for value in tolerances)
        allowed = max(relative * abs(gold.value), absolute)
        return Verdict.CORRECT if _within(gold, other, allowed) else Verdict.WRONG


def _within(gold: Quantity, other: Quantity, allowed: Fraction) -> bool:
    """Whether the nearest value ``other`` could stand for, in its unit, equals the reference."""
    factor = Fraction(1)
    if gold.unit.dimensions and gold.unit.dimensions == other.unit.dimensions:
        factor = other.unit.factor / gold.unit.factor
    candidates = [other.value]
    if gold.unit.percent != other.unit.percent:
        candidates.append(other.value / 100 if other.unit.percent else other.value * 100)
    for value in candidates:
        if abs(value * factor - gold.value) <= allowed:
            exact = gold.value / factor if value == other.value else gold.value / factor * other.value / value
            return same_quantity(Quantity(gold.value, gold.unit), Quantity(exact, other.unit))
    return False


def _quantity(text: str) -> Quantity | None:
    """A plain number, or the value of an expression or equation that has one."""
    plain = parse_plain(text)
    if plain is not None:
        return plain
    from mindgap_data.verify.math.equality import number_of

    return number_of(text)


def _is_tolerance(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
