r"""Equality of expressions, by exact and by numeric evaluation.

Two expressions are equal when they are the same rational number, exactly; or when they agree to 40 of
60 digits, without variables, or with variables at several points of the reals where both are defined
(a polynomial identity test: two different expressions agreeing at random points has probability 0, and
agreeing to 40 digits is, for expressions of this size, as good). Powers, factorials and all they make
are bounded before they are computed.
"""

import random
from collections.abc import Callable
from typing import Any

from mindgap_data.verify.math.exact import MAX_BITS, TooBigError, rational
from mindgap_data.verify.math.expression import Node

DIGITS = 60
AGREEING = 40
POINTS = 6


class UndefinedError(Exception):
    """No real value at this point."""


def equal(left: Node, right: Node) -> bool | None:
    """Whether two expressions are equal; None when no point told.

    Raises:
        TooBigError: a number in either grows beyond ``MAX_BITS``.
    """
    exact = rational(left), rational(right)
    if None not in exact:
        return exact[0] == exact[1]
    names = sorted((left.names() | right.names()) - {"i"})
    if not names:
        try:
            return _agree(_number(left, {}, False), _number(right, {}, False))
        except UndefinedError:
            return None
    is_complex = "i" in left.names() | right.names()
    agreed = 0
    for point in _points(names):
        try:
            values = _number(left, point, not is_complex), _number(right, point, not is_complex)
        except UndefinedError:
            continue
        if not _agree(*values):
            return False
        agreed += 1
    return True if agreed >= 3 else None


def ratio(left: Node, right: Node) -> float | None:
    """The value of ``left / right`` where it is one constant at every point, and not 0; else None."""
    names = sorted((left.names() | right.names()) - {"i"})
    from mpmath import mp

    found: list[Any] = []
    for point in _points(names):
        try:
            above, below = _number(left, point, True), _number(right, point, True)
        except UndefinedError:
            continue
        if below == 0 or above == 0:
            return None
        found.append(above / below)
        if not _agree(found[0], found[-1]):
            return None
    return float(mp.re(found[0])) if len(found) >= 3 else None


def approximate(node: Node) -> complex | None:
    """Value of an expression without variables, to double precision; None when it has none."""
    if node.names() - {"i"}:
        return None
    try:
        return complex(_number(node, {}, False))
    except (UndefinedError, OverflowError):
        return None


def precise(node: Node) -> Any:
    """Real value of an expression without variables, an mpmath number of ``DIGITS`` digits; None when it has none.

    Raises:
        TooBigError: out of bounds.
    """
    if node.names():
        return None
    try:
        return _number(node, {}, True)
    except (UndefinedError, OverflowError):
        return None


def _points(names: list[str]) -> list[dict[str, Any]]:
    """Values for the variables: positive at first, then of both signs; the same on every machine."""
    from mpmath import mpf

    points = []
    for seed in range(4 * POINTS):
        generator = random.Random(f"{seed}")
        sign = 1 if seed < 3 else None
        points.append(
            {
                name: mpf(generator.randrange(300_000_007, 2_700_000_011))
                / 999_999_937
                * (sign or generator.choice((-1, 1)))
                for name in names
            }
        )
    return points[: POINTS * 2]


def _agree(left: Any, right: Any) -> bool:
    from mpmath import mp

    with mp.workdps(DIGITS):
        size = max(abs(left), abs(right))
        # What cancels to 0 leaves a rounding error of the working precision.
        if left == 0 or right == 0:
            return bool(size < mp.mpf(10) ** -(DIGITS - 5))
        return bool(abs(left - right) <= size * mp.mpf(10) ** -AGREEING)


def _number(node: Node, point: dict[str, Any], real: bool) -> Any:
    """Numeric value at a point, ``DIGITS`` digits.

    Raises:
        UndefinedError: outside the domain (with ``real``: where a real function turns complex).
        TooBigError: out of bounds.
    """
    from mpmath import mp

    with mp.workdps(DIGITS):
        try:
            value = _evaluate(node, point, real)
        except (ZeroDivisionError, ValueError, OverflowError) as error:
            raise UndefinedError(str(error)) from error
        if not mp.isfinite(value):
            raise UndefinedError("not finite")
        return value


def _evaluate(node: Node, point: dict[str, Any], real: bool) -> Any:
    from mpmath import mp

    if node.kind == "num":
        assert node.value is not None
        return mp.mpf(node.value.numerator) / node.value.denominator
    if node.kind == "var":
        return point[node.name]
    if node.kind in {"pi", "e", "i"}:
        return {"pi": +mp.pi, "e": +mp.e, "i": mp.mpc(0, 1)}[node.kind]
    values = [_evaluate(arg, point, real) for arg in node.args]
    value = _function(node.name, values) if node.kind == "func" else _NUMERIC[node.kind](values)
    if not mp.isfinite(value):
        raise UndefinedError("not finite")
    if value and abs(mp.log(abs(value), 2)) > MAX_BITS:
        raise TooBigError("magnitude")
    if real and abs(mp.im(value)) > mp.mpf(10) ** -AGREEING * (1 + abs(value)):
        raise UndefinedError("complex")
    return mp.re(value) if real else value


def _function(name: str, values: list[Any]) -> Any:
    from mpmath import mp

    argument = values[0]
    if abs(argument) > 10**6 and name not in {"log", "ln", "lg"}:
        raise TooBigError("argument")
    if name in {"log", "ln", "lg"}:
        if argument == 0:
            raise UndefinedError("log 0")
        # \log without a base is left as one of its own: it may be 10 or e, and must equal itself only.
        base = values[1] if len(values) > 1 else {"ln": mp.e, "lg": mp.mpf(10), "log": mp.mpf(10)}[name]
        return mp.log(argument) / mp.log(base)
    inverse = {"arcsin": mp.asin, "arccos": mp.acos, "arctan": mp.atan}
    reciprocal = {"cot": mp.tan, "sec": mp.cos, "csc": mp.sin}
    if name in reciprocal:
        return 1 / reciprocal[name](argument)
    return (inverse.get(name) or getattr(mp, name))(argument)


def _numeric_power(values: list[Any]) -> Any:
    from mpmath import mp

    base, exponent = values
    if base == 0:
        if mp.re(exponent) <= 0:
            raise UndefinedError("0 to the power 0 or less")
        return mp.mpf(0)
    if abs(exponent) > 10**6 or abs(exponent * mp.log(base)) > MAX_BITS:
        raise TooBigError("power")
    return base**exponent


def _numeric_root(values: list[Any]) -> Any:
    from mpmath import mp

    base, index = values
    if index == 0:
        raise UndefinedError("root 0")
    if mp.im(base) == 0 and mp.re(base) < 0 and mp.im(index) == 0 and mp.re(index) % 2 == 1:
        return -((-mp.re(base)) ** (1 / index))
    return _numeric_power([base, 1 / index])


def _numeric_factorial(values: list[Any]) -> Any:
    from mpmath import mp

    if abs(values[0]) > 3_000:
        raise TooBigError("factorial")
    if mp.isint(values[0]) and mp.re(values[0]) < 0:
        raise UndefinedError("factorial")
    return mp.factorial(values[0])


def _numeric_binomial(values: list[Any]) -> Any:
    from mpmath import mp

    if max(abs(values[0]), abs(values[1])) > 3_000:
        raise TooBigError("binomial")
    return mp.binomial(*values)


def _numeric_integer(part: str) -> Callable[[list[Any]], Any]:
    def rounded(values: list[Any]) -> Any:
        from mpmath import mp

        return getattr(mp, part)(values[0])

    return rounded


_NUMERIC: dict[str, Callable[[list[Any]], Any]] = {
    "add": lambda v: sum(v[1:], v[0]),
    "neg": lambda v: -v[0],
    "mul": lambda v: v[0] * v[1],
    "div": lambda v: v[0] / v[1],
    "pow": _numeric_power,
    "root": _numeric_root,
    "fact": _numeric_factorial,
    "binom": _numeric_binomial,
    "abs": lambda v: abs(v[0]),
    "floor": _numeric_integer("floor"),
    "ceil": _numeric_integer("ceil"),
}
