r"""Arithmetic that is left to do is no answer; a number in any of its forms is one."""

import pytest

from mindgap_data.verify import Verdict
from mindgap_data.verify.math import MathVerifier
from mindgap_data.verify.math.unfinished import is_unfinished


@pytest.mark.parametrize(
    "text",
    [
        "6 + 1", "12 - 5", r"3 \times 4", r"3 \cdot 4", "3*4", "2(3+4)", "x = 6 + 1", "1 + 2 + 3",
        r"\frac{1}{2} + \frac{1}{3}", r"\frac{3 + 4}{2}", r"\sqrt{9 + 16}", r"0.25 \times 80", r"6 + 1 \text{ apples}",
        r"\approx 6 + 1",
    ],
)  # fmt: skip
def test_unfinished(text: str) -> None:
    assert is_unfinished(text)


@pytest.mark.parametrize(
    "text",
    [
        "7", "-7", "1/2", "2^10", r"\frac{14}{2}", r"3 \times 10^5", r"2\frac{1}{3}", r"\sqrt{49}", "5!",
        r"\binom{10}{3}", r"2\pi", r"1+\sqrt{2}", r"2^3 \cdot 3", "6 + 1 = 7", "x = 6 + 1 = 7", "x + y = 7",
        "3 + 4i", "2x + 1", "seven", "",
    ],
)  # fmt: skip
def test_finished(text: str) -> None:
    assert not is_unfinished(text)


@pytest.mark.parametrize(
    ("response", "answer", "verdict"),
    [
        ("The answer is: 6 + 1", "7", Verdict.NO_ANSWER),
        (r"\boxed{x = 6 + 1}", "x = 7", Verdict.NO_ANSWER),
        (r"\boxed{6 + 1 = 7}", "7", Verdict.CORRECT),
        (r"\boxed{6 + 1}", "6+1", Verdict.CORRECT),  # the reference itself is a sum
        (r"\boxed{2^{10}}", "1024", Verdict.CORRECT),
    ],
)
def test_where_the_reference_is_a_number(response: str, answer: str, verdict: Verdict) -> None:
    assert MathVerifier()(response, answer, {}) is verdict
