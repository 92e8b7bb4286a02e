r"""What a response concludes with where it marks no answer."""

import pytest

from mindgap_data.verify.math.closing import closing_formula, closing_number, stated_in_sentence


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("She has 3. So she has 12 apples.", "12 apples"),
        ("5 + 7 = 12 apples.", "12 apples"),
        ("The total is $1,200.50.", "$1,200.50"),
        ("Therefore, after giving 5 away, 7 apples are left, which makes 12.", "12"),
        ("The probability is 2/5.", "2/5"),
        ("The profit is **$70,000**.", "$70,000"),
        ("She has 12 of 20 apples.", None),  # two numbers
        ("If she had 12 apples.", None),
        ("Does she have 12 apples?", None),
        ("She does not have 12 apples.", None),
        ("She has about 12 apples.", None),
        ("12 + 7 apples.", None),
        ("Then add 12.", None),
        ("Hence the remaining 12 must be halved.", None),
        ("Substitute x = 12.", None),
        ("He started with 12 apples.", None),
        ("I hope this helps! 12", None),
        ("", None),
    ],
)
def test_closing_number(text: str, expected: str | None) -> None:
    assert closing_number(text) == expected


def test_closing_formula_is_the_one_the_last_line_ends_in() -> None:
    assert closing_formula(r"$x = 1$. So the side is $2\sqrt{3}$.") == r"2\sqrt{3}"
    assert closing_formula(r"So the side is not $2\sqrt{3}$.") is None
    assert closing_formula(r"The side $2\sqrt{3}$ is long.") is None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (r"\text{The total is } 12", "12"),
        (r"\text{Tom has }12\text{ left}", "12 left"),
        ("She has 12 left", "12 left"),
        (r"\text{Tom has 12 and Ann has 14}", None),
        (r"\text{There are at least 12 ways}", None),
        (r"\text{Tom has one tenth of } 10", None),
        (r"\text{The tenth term is } a_{10}", None),
        (r"\text{more than } 12", None),  # no sentence
        ("12 apples", None),
    ],
)
def test_the_number_of_an_answer_that_is_a_sentence(answer: str, expected: str | None) -> None:
    assert stated_in_sentence(answer) == expected
