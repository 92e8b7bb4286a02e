r"""Values of expressions and their equality, against sympy."""

import pytest
import sympy

from mindgap_data.verify.math.evaluation import approximate, equal, ratio
from mindgap_data.verify.math.exact import TooBigError
from mindgap_data.verify.math.expression import parse

# LaTeX and the same for sympy's own parser
SAME_AS_SYMPY = [
    (r"3\sqrt{13}-2", "3*sqrt(13)-2"),
    (r"\frac{1+\sqrt{5}}{2}", "(1+sqrt(5))/2"),
    (r"-2^{2}", "-(2**2)"),
    (r"2^{-1}+3^{2}", "2**-1+3**2"),
    (r"\sin 2\cos 3", "sin(2)*cos(3)"),
    (r"\sin^2 2", "sin(2)**2"),
    (r"\tan^{-1} 2", "atan(2)"),
    (r"\log_2 10", "log(10,2)"),
    (r"\ln 10-e^2", "log(10)-exp(2)"),
    (r"\sqrt[3]{10}", "10**Rational(1,3)"),
    (r"|2-\pi|", "Abs(2-pi)"),
    (r"\frac{7}{2}!", "gamma(Rational(9,2))"),
    (r"\binom{10}{3}+5!", "binomial(10,3)+factorial(5)"),
    (r"\lfloor \pi \rfloor+\lceil \pi \rceil", "floor(pi)+ceiling(pi)"),
    (r"1/2\pi", "pi/2"),
    (r"2\frac{1}{3}", "Rational(7,3)"),
    (r"2(3+4)5^2", "2*7*25"),
    (r"(1+i)^3", "(1+I)**3"),
    (r"3\times 4\div 5\cdot 2", "3*4/5*2"),
]


@pytest.mark.parametrize(("latex", "reference"), SAME_AS_SYMPY)
def test_value_is_sympys(latex: str, reference: str) -> None:
    value = approximate(parse(latex))
    assert value == pytest.approx(complex(sympy.sympify(reference).evalf(30)), rel=1e-14)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("(a+b)^2", "a^2+2ab+b^2"),
        (r"\sin^2 x+\cos^2 x", "1"),
        (r"\frac{x^2-1}{x-1}", "x+1"),
        (r"\sqrt{x}\sqrt{y}", r"\sqrt{xy}"),
        (r"\cos\theta\sin\theta", r"\frac{\sin 2\theta}{2}"),
        (r"e^{i\pi}", "-1"),
        ("x_1+x_2", "x_2+x_1"),
        (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}"),
    ],
)
def test_equal(left: str, right: str) -> None:
    assert equal(parse(left), parse(right)) is True


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("10^{50}", "10^{50}+1"),
        (r"\sqrt{x^2}", "x"),
        ("x_1", "x_2"),
        ("x", "X"),
        (r"e^{\pi\sqrt{163}}", "262537412640768744"),  # equal to 30 digits
        (r"e^{-200}", r"e^{-201}"),
        ("a-b", "b-a"),
    ],
)
def test_not_equal(left: str, right: str) -> None:
    assert equal(parse(left), parse(right)) is False


@pytest.mark.parametrize("text", ["9^{9^{9}}", "100000!", r"\binom{10^9}{5}", "2^{10^9}", "((9^9)^9)^{9^9}"])
def test_too_big_to_evaluate(text: str) -> None:
    with pytest.raises(TooBigError):
        equal(parse(text), parse("x"))


def test_ratio_is_the_constant_between_two_expressions() -> None:
    assert ratio(parse("2x-4y"), parse("x-2y")) == pytest.approx(2)
    assert ratio(parse("2x-4y"), parse("x+2y")) is None
