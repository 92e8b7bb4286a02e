r"""What is taken from around an answer, and what is left because it may change or deny it."""

import pytest

from mindgap_data.verify.math.remarks import spellings


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        (r"12 \text{ (since } x > 0)", "12"),
        ("12 (rounded to the nearest integer)", "12"),
        (r"x = 5 \text{ (rejecting } x = -3)", "x = 5"),
        (r"12 \text{ (not 13)}", "12"),
        (r"12, \text{ as required}", "12"),
        (r"\text{The total is } 12", "12"),
        (r"\text{exactly } 12", "12"),
        (r"\text{C, which is 12}", "C"),
        ("0.25 (or 25%)", "0.25"),
        ("160 minutes (2 hours and 40 minutes)", "160 minutes"),
    ],
)
def test_a_remark_is_taken_away(text: str, bare: str) -> None:
    assert spellings(text) == [text, bare]


@pytest.mark.parametrize(
    "text",
    [
        "12",
        r"12 \text{ (or 13)}",
        "0.25 (or 26%)",
        r"12 \text{ (this is wrong)}",
        r"12 \text{ (not correct)}",
        r"12 \text{ (in thousands)}",
        r"12 \text{ (times 3)}",
        r"12 (apples)",  # a unit
        r"\text{The total is not } 12",
        r"\text{more than } 12",
        r"12, \text{ which is half of it}",
        "12, which gives 13 as the total",
        r"f(abc)",
        r"\frac{1}{2}(x+1)",
    ],
)
def test_what_may_change_the_answer_stays(text: str) -> None:
    assert spellings(text) == [text]
