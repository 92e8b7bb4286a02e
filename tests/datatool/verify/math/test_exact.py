r"""Exact values of expressions of rational numbers."""

import sympy

from mindgap_data.verify.math.exact import rational
from mindgap_data.verify.math.expression import parse


def test_exact_values_stay_exact() -> None:
    assert rational(parse(r"\frac{10^{40}+1}{3}-\frac{10^{40}}{3}")) == sympy.Rational(1, 3)
    assert rational(parse(r"\sqrt{\frac{9}{4}}")) == sympy.Rational(3, 2)
    assert rational(parse(r"\sqrt{2}")) is None
