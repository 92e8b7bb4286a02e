"""Multiple choice."""

from typing import Any

import pytest

from mindgap_data.verify import Verdict
from mindgap_data.verify.choice import ChoiceVerifier

CITIES = {"choices": ["London", "Paris", "Rome"]}
CORRECT, WRONG, NO_ANSWER, ERROR = Verdict.CORRECT, Verdict.WRONG, Verdict.NO_ANSWER, Verdict.CHECKER_ERROR


@pytest.mark.parametrize(
    ("response", "answer", "row", "verdict"),
    [
        ("The answer is (C).", "C", {}, CORRECT),
        ("Answer: B", "C", {}, WRONG),
        (r"\boxed{\text{(C)}}", "C", {}, CORRECT),
        ("B", "B", {}, CORRECT),
        ("(b)", "B", {}, CORRECT),
        ("**B**", "B", {}, CORRECT),
        ("So the correct option is (B)", "B", {}, CORRECT),
        ("The correct option is B.", "B", {}, CORRECT),
        ("The correct option is not B.", "B", {}, NO_ANSWER),
        (r"\boxed{Paris}", "B", CITIES, CORRECT),
        ("The answer is Paris.", "B", CITIES, CORRECT),
        ("The answer is Rome.", "B", CITIES, WRONG),
        ("**Answer: B. Paris**", "Paris", CITIES, CORRECT),
        ("The answer is B or C.", "B", CITIES, WRONG),
        ("The answer is D.", "B", CITIES, WRONG),
        ("I think C is nice", "C", {}, NO_ANSWER),
        ("Answer: A", "Berlin", CITIES, ERROR),
    ],
)
def test_choice(response: str, answer: str, row: dict[str, Any], verdict: Verdict) -> None:
    assert ChoiceVerifier()(response, answer, row) is verdict
