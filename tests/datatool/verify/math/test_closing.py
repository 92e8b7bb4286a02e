r"""What a response concludes with where it marks no answer."""

import pytest

from mindgap_data.verify.math.closing import closing_answer, closing_number, closing_words, stated_in_sentence


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Therefore, the fastest student is Evelyn.", "Evelyn"),
        ("The graph is an ellipse.", "an ellipse"),
        ("So there are no real solutions.", "no real solutions"),
        ("The fastest student is not Evelyn.", None),
        ("Is the fastest student Evelyn?", None),
        ("Evelyn runs faster than anyone else.", None),
    ],
)
def test_closing_words(text: str, expected: str | None) -> None:
    assert closing_words(text) == expected


@pytest.mark.parametrize(
    ("text", "gold", "expected"),
    [
        ("The probability is one eighth.", "1/8", "one eighth"),
        ("The ratio of boys to girls is 3 to 4.", "3:4", "3 to 4"),
        ("So the correct options are A, C, and D.", "ACD", "A, C, D"),
        ("Thus, option **E** is correct.", "E", "E"),
        ("Thus, option **E** is incorrect.", "E", None),
    ],
)
def test_closing_answer_is_of_the_kind_asked_for(text: str, gold: str, expected: str | None) -> None:
    assert closing_answer(text, gold, is_number=gold == "1/8") == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (r"\text{The total is } 12", "12"),
        (r"\text{Tom has }12\text{ left}", "12 left"),
        ("She has 12 left", "12 left"),
        ("Janet sells 12 eggs every day", "12 eggs every day"),
        ("Carla needs 160 minutes (2 hours and 40 minutes)", "160 minutes"),
        ("Janet has 12 more eggs than Tom", None),
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
