r"""Expressions: a bounded parser for the LaTeX of algebra, and equality by exact and by numeric evaluation.

Two expressions are equal when they are the same rational number, exactly; or when they agree to 40 of
60 digits, without variables, or with variables at several points of the reals where both are defined
(a polynomial identity test: two different expressions agreeing at random points has probability 0, and
agreeing to 40 digits is, for expressions of this size, as good). No text is ever executed, and numbers,
powers and factorials are bounded before they are computed.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

MAX_TOKENS = 600
MAX_DEPTH = 40
MAX_BITS = 60_000
DIGITS = 60
AGREEING = 40
POINTS = 6


class UnsupportedError(Exception):
    """Not an expression this parser reads."""


class TooBigError(Exception):
    """Evaluating it would take more memory or time than an answer is worth."""


class UndefinedError(Exception):
    """No real value at this point."""


@dataclass(frozen=True)
class Node:
    """An operation on nodes, a number, or a name."""

    kind: str  # num, var, pi, e, i, add, neg, mul, div, pow, root, fact, abs, binom, func, floor, ceil
    args: tuple["Node", ...] = ()
    value: Fraction | None = None  # of num
    name: str = ""  # of var and func

    def names(self) -> set[str]:
        """Variables in it; "i" where it is complex."""
        own = {self.name} if self.kind == "var" else {"i"} if self.kind == "i" else set()
        return own.union(*(arg.names() for arg in self.args))


_FUNCTIONS = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "arcsin",
        "arccos",
        "arctan",
        "log",
        "ln",
        "exp",
        "sinh",
        "cosh",
        "tanh",
        "lg",
    ]
)
_GREEK = frozenset(
    [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "varepsilon",
        "zeta",
        "eta",
        "theta",
        "vartheta",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
        "rho",
        "sigma",
        "tau",
        "phi",
        "varphi",
        "chi",
        "psi",
        "omega",
        "Gamma",
        "Delta",
        "Theta",
        "Lambda",
        "Sigma",
        "Phi",
        "Psi",
        "Omega",
        "ell",
    ]
)
_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?(?![0-9])|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
    r"|\\(?P<command>[A-Za-z]+)|(?P<escaped>\\.)|(?P<letter>[A-Za-z])|(?P<symbol>[-+*/^_!(){}\[\]|%=<>,]))"
)
_DEGREES = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?\\text\{ degrees\}")
_LONG_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{5,}")


def parse(text: str) -> Node:
    """The expression ``text`` is.

    Raises:
        UnsupportedError: it is no expression of algebra, or beyond the bounds on tokens and nesting.
    """
    text = _DEGREES.sub(r"(\1\\pi/180)", text)
    if _LONG_WORD.search(text):
        raise UnsupportedError("words")
    return _Parser(_tokenise(text)).whole()


def equal(left: Node, right: Node) -> bool | None:
    """Whether two expressions are equal; None when no point told.

    Raises:
        TooBigError: a number in either grows beyond ``MAX_BITS``.
    """
    exact = _rational(left), _rational(right)
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
    """The constant ``left / right`` is at every point, or None when it is no constant (or 0)."""
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


def rational(node: Node) -> Fraction | None:
    """Exact value of an expression of rational numbers, or None when it has no such value."""
    return _rational(node)


def approximate(node: Node) -> complex | None:
    """Value of an expression without variables, to double precision; None when it has none."""
    if node.names() - {"i"}:
        return None
    try:
        return complex(_number(node, {}, False))
    except (UndefinedError, OverflowError):
        return None


def _tokenise(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or len(tokens) >= MAX_TOKENS:
            raise UnsupportedError("symbols")
        kind = str(match.lastgroup)
        tokens.append((kind, match.group(kind)))
        at = match.end()
    return tokens


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.bars = 0

    def whole(self) -> Node:
        node = self.sum()
        if self.at != len(self.tokens):
            raise UnsupportedError("trailing tokens")
        return node

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def take(self, value: str) -> bool:
        if self.peek()[1] == value and self.peek()[0] != "end":
            self.at += 1
            return True
        return False

    def need(self, value: str) -> None:
        if not self.take(value):
            raise UnsupportedError(f"no {value}")

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnsupportedError("nesting")
        terms = [self.signed()]
        while self.peek()[1] in {"+", "-"} and self.peek()[0] == "symbol":
            terms.append(self.signed())
        self.depth -= 1
        return terms[0] if len(terms) == 1 else Node("add", tuple(terms))

    def signed(self) -> Node:
        negative = False
        while self.peek()[0] == "symbol" and self.peek()[1] in {"+", "-"}:
            negative ^= self.tokens[self.at][1] == "-"
            self.at += 1
        term = self.product()
        return Node("neg", (term,)) if negative else term

    def product(self) -> Node:
        node, number = self.power()
        while True:
            kind, value = self.peek()
            if value in {"*", "cdot", "times"} and kind in {"symbol", "command"}:
                self.at += 1
                node, number = Node("mul", (node, self.operand())), False
            elif (kind, value) == ("symbol", "/") or (kind, value) == ("command", "div"):
                self.at += 1
                node, number = Node("div", (node, self.operand())), False
            elif self.starts_factor():
                right, right_number = self.power()
                if right_number and (number or kind == "number"):
                    raise UnsupportedError("two numbers side by side")
                mixed = number and right.kind == "div" and all(a.kind == "num" for a in right.args)
                node, number = Node("add" if mixed else "mul", (node, right)), False
            else:
                return node

    def operand(self) -> Node:
        if self.peek() in {("symbol", "-"), ("symbol", "+")}:
            return self.signed_power()
        return self.power()[0]

    def signed_power(self) -> Node:
        negative = self.take("-") or not self.take("+")
        node = self.power()[0]
        return Node("neg", (node,)) if negative else node

    def starts_factor(self) -> bool:
        kind, value = self.peek()
        if kind in {"number", "letter"}:
            return True
        if kind == "symbol":
            return value in {"(", "{"} or (value == "|" and not self.bars)
        if kind == "escaped":
            return False
        return kind == "command" and value not in {"cdot", "times", "div", "rfloor", "rceil", "mod", "pm", "mp"}

    def power(self) -> tuple[Node, bool]:
        """A factor with its factorials and exponent, and whether it is a bare number."""
        kind = self.peek()[0]
        node = self.atom()
        bare = kind == "number"
        while True:
            if self.take("!"):
                node, bare = Node("fact", (node,)), False
            elif self.take("%"):
                raise UnsupportedError("percent")
            elif self.take("^"):
                node, bare = Node("pow", (node, self.argument())), False
            else:
                return node, bare

    def argument(self) -> Node:
        """What ^ or a command takes: a group, a sign and number, or one token."""
        if self.take("{"):
            node = self.sum()
            self.need("}")
            return node
        if self.peek() == ("symbol", "-"):
            return self.signed_power()
        kind, value = self.peek()
        if kind == "number" and len(value) > 1:
            self.tokens[self.at] = (kind, value[1:])  # \frac12 and x^23 take one digit each
            return Node("num", value=Fraction(int(value[0]))) if value[0].isdigit() else self.fail()
        return self.atom()

    def fail(self) -> Node:
        raise UnsupportedError("argument")

    def atom(self) -> Node:
        kind, value = self.peek()
        self.at += 1
        if kind == "number":
            return Node("num", value=_number_value(value))
        if kind == "letter":
            return self.variable(value)
        if kind == "symbol" and value in {"(", "{", "["}:
            bars, self.bars = self.bars, 0
            node = self.sum()
            self.need({"(": ")", "{": "}", "[": "]"}[value])
            self.bars = bars
            return node
        if kind == "symbol" and value == "|":
            self.bars += 1
            node = self.sum()
            self.need("|")
            self.bars -= 1
            return Node("abs", (node,))
        if kind == "command":
            return self.command(value)
        raise UnsupportedError(f"no value at {value!r}")

    def variable(self, letter: str) -> Node:
        if letter in "fgh" and self.peek() == ("symbol", "("):
            raise UnsupportedError("a function's name")
        if self.peek() == ("symbol", "_"):
            return Node("var", name=letter + self.subscript())
        return Node({"e": "e", "i": "i"}.get(letter, "var"), name=letter)

    def subscript(self) -> str:
        self.need("_")
        if not self.take("{"):
            kind, value = self.peek()
            self.at += 1
            if kind not in {"number", "letter"} or (kind == "number" and len(value) > 1):
                raise UnsupportedError("subscript")
            return "_" + value
        parts = []
        while not self.take("}"):
            kind, value = self.peek()
            if kind == "end":
                raise UnsupportedError("subscript")
            parts.append(value)
            self.at += 1
        return "_" + "".join(parts)

    def command(self, name: str) -> Node:
        if name == "frac":
            return Node("div", (self.argument(), self.argument()))
        if name == "sqrt":
            return self.root()
        if name == "binom":
            return Node("binom", (self.argument(), self.argument()))
        if name == "pi":
            return Node("pi")
        if name in {"lfloor", "lceil"}:
            node = self.sum()
            self.need("rfloor" if name == "lfloor" else "rceil")
            return Node("floor" if name == "lfloor" else "ceil", (node,))
        if name in _FUNCTIONS:
            return self.function(name)
        if name in _GREEK:
            return Node("var", name=name + (self.subscript() if self.peek() == ("symbol", "_") else ""))
        raise UnsupportedError(f"\\{name}")

    def root(self) -> Node:
        index = Node("num", value=Fraction(2))
        if self.take("["):
            index = self.sum()
            self.need("]")
        return Node("root", (self.argument(), index))

    def function(self, name: str) -> Node:
        base: tuple[Node, ...] = ()
        exponent: Node | None = None
        while self.peek() in {("symbol", "_"), ("symbol", "^")}:
            if self.take("^"):
                exponent = self.argument()
            else:
                self.at += 1
                base = (self.argument(),)
        if base and name != "log":
            raise UnsupportedError("subscript of a function")
        argument = self.function_argument()
        if exponent is not None and _rational(exponent) == -1 and name in {"sin", "cos", "tan"}:
            return Node("func", (argument,), name="arc" + name)
        node = Node("func", (argument, *base), name=name)
        return node if exponent is None else Node("pow", (node, exponent))

    def function_argument(self) -> Node:
        """A parenthesis or group, or the product up to the next operator or function (sin 2x cos x)."""
        if self.peek()[1] in {"(", "{"} and self.peek()[0] == "symbol":
            return self.power()[0]
        node, _ = self.power()
        while self.starts_factor() and self.peek()[1] not in _FUNCTIONS and self.peek() != ("symbol", "("):
            node = Node("mul", (node, self.power()[0]))
        return node


def _number_value(text: str) -> Fraction:
    text = text.replace(",", "")
    if len(text) > 400:
        raise UnsupportedError("digits")
    return Fraction(text if not text.startswith(".") else "0" + text)


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > MAX_BITS:
        raise TooBigError("digits")
    return value


def _rational(node: Node) -> Fraction | None:
    """Exact value, or None where it is irrational, complex, undefined or holds a variable."""
    if node.kind == "num":
        return node.value
    if node.kind in {"var", "pi", "e", "i", "func"}:
        return None
    values: list[Fraction] = []
    for arg in node.args:
        value = _rational(arg)
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
    if abs(argument) > 10**6:
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
