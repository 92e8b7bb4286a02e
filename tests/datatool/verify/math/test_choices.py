"""Where the choices of a row stand."""

from typing import Any

import pytest

from mindgap_data.verify.math.choices import choices_of


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
