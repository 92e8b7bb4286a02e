"""The exact value of an expression of rational numbers; every size is bounded before it is computed."""

from collections.abc import Callable
from fractions import Fraction

from mindgap_data.verify.math.expression import Node

MAX_BITS = 60_000


class TooBigError(Exception):
    """Evaluating it would take more memory or time than an answer is worth."""


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > MAX_BITS:
        raise TooBigError("digits")
    return value


def rational(node: Node) -> Fraction | None:
    """Exact value, or None where it is irrational, complex, undefined or holds a variable.

    Raises:
        TooBigError: a number in it grows beyond ``MAX_BITS``.
    """
    if node.kind == "num":
        return node.value
    if node.kind in {"var", "pi", "e", "i", "func"}:
        return None
    values: list[Fraction] = []
    for arg in node.args:
        value = rational(arg)
        if value is None:
            return None
        values.append(value)
    return _EXACT[node.kind](values)


def _exact_power(values: list[Fraction]) -> Fraction | None:
    base, exponent = values
    if exponent.denominator != 1:
        return _exact_root([base, 1 / exponent]) if exponent.numerator == 1 else None
    bits = base.numerator.bit_length() + base.denominator.bit_length()
    if base not in (0, 1, -1) and bits * abs(exponent.numerator) > MAX_BITS:
        raise TooBigError("power")
    if base == 0 and exponent < 0:
        return None
    return Fraction(base ** (exponent.numerator if base not in (1, -1) else exponent.numerator % 2))


def _exact_root(values: list[Fraction]) -> Fraction | None:
    base, index = values
    if index.denominator != 1 or not 2 <= index <= 64 or (base < 0 and index % 2 == 0):
        return None
    parts = [_integer_root(part, int(index)) for part in (abs(base.numerator), base.denominator)]
    if parts[0] is None or parts[1] is None:
        return None
    return Fraction(parts[0], parts[1]) * (-1 if base < 0 else 1)


def _integer_root(value: int, index: int) -> int | None:
    low, high = 0, 1 << (value.bit_length() // index + 1)
    while low < high:
        middle = (low + high) // 2
        if middle**index < value:
            low = middle + 1
        else:
            high = middle
    return low if low**index == value else None


def _exact_factorial(values: list[Fraction]) -> Fraction | None:
    from math import factorial

    (value,) = values
    if value.denominator != 1 or value < 0:
        return None
    if value > 3_000:
        raise TooBigError("factorial")
    return Fraction(factorial(int(value)))


def _exact_binomial(values: list[Fraction]) -> Fraction | None:
    from math import comb

    if any(value.denominator != 1 or value < 0 for value in values):
        return None
    if max(values) > 10_000:
        raise TooBigError("binomial")
    return Fraction(comb(int(values[0]), int(values[1])))


_EXACT: dict[str, Callable[[list[Fraction]], Fraction | None]] = {
    "add": lambda v: _bounded(sum(v, Fraction(0))),
    "neg": lambda v: -v[0],
    "mul": lambda v: _bounded(v[0] * v[1]),
    "div": lambda v: _bounded(v[0] / v[1]) if v[1] else None,
    "pow": _exact_power,
    "root": _exact_root,
    "fact": _exact_factorial,
    "binom": _exact_binomial,
    "abs": lambda v: abs(v[0]),
    "floor": lambda v: Fraction(v[0].__floor__()),
    "ceil": lambda v: Fraction(v[0].__ceil__()),
}
