r"""Expressions: a bounded parser for the LaTeX of algebra. No text is ever executed."""

from dataclasses import dataclass
from fractions import Fraction

from mindgap_data.verify.math.tokens import UnsupportedError, number_value, tokenise

MAX_DEPTH = 40


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


_FUNCTIONS = frozenset((
    "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "log", "ln", "exp", "sinh", "cosh",
    "tanh", "lg",
))  # fmt: skip

_GREEK = frozenset((
    "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "kappa",
    "lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "phi", "varphi", "chi", "psi", "omega", "Gamma", "Delta",
    "Theta", "Lambda", "Sigma", "Phi", "Psi", "Omega", "ell",
))  # fmt: skip


def parse(text: str) -> Node:
    """The expression ``text`` is.

    Raises:
        UnsupportedError: not an expression of algebra, or beyond the bounds on tokens and nesting.
    """
    return _Parser(tokenise(text)).whole()


# of \sin^{-1}
_MINUS_ONE = Node("neg", (Node("num", value=Fraction(1)),))


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
            return Node("num", value=number_value(value))
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
        if exponent == _MINUS_ONE and name in {"sin", "cos", "tan"}:
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
