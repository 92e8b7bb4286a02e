"""Multiple choice."""

from typing import Any

import pytest

from mindgap_data.verify import Verdict
from mindgap_data.verify.choice import ChoiceVerifier, choices_of

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


@pytest.mark.parametrize(
    "row",
    [
        {"choices": ["4", "6"]},
        {"options": ["A. 4", "B. 6"]},
        {"choices": {"A": "4", "B": "6"}},
        {"choices": {"label": ["A", "B"], "text": ["4", "6"]}},
        {"problem": r"Which? $\textbf{(A)}\ 4\qquad\textbf{(B)}\ 6$"},
        {"question": "Which?\nA. 4\nB. 6"},
        {"question": "Which? (A) 4 (B) 6"},
    ],
)
def test_where_choices_come_from(row: dict[str, Any]) -> None:
    assert choices_of(row) == {"A": "4", "B": "6"}


@pytest.mark.parametrize("row", [{}, {"problem": "See (B) and (C)."}, {"choices": []}, {"problem": 5}])
def test_no_choices(row: dict[str, Any]) -> None:
    assert choices_of(row) == {}
