r"""Sets of numbers in words and by conditions."""

import pytest

from mindgap_data.verify.math.sets import described


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        (r"\{x | 2 < x \le 5\}", r"2 < x \le 5"),
        (r"\{ x \in \mathbb{R} : x > 3\}", "x > 3"),
        (r"\{x : x \in \mathbb{R}, x > 3\}", "x > 3"),
        (r"\text{all real numbers } x \text{ such that } x > 3", "x > 3"),
        (r"\mathbb{R} \setminus \{3, -1\}", r"(-\infty,-1) \cup (-1,3) \cup (3,\infty)"),
        (r"\text{all real numbers except } 3", r"(-\infty,3) \cup (3,\infty)"),
        (r"\{1, 2\}", r"\{1, 2\}"),
        ("x > 3", "x > 3"),
    ],
)
def test_described(text: str, condition: str) -> None:
    assert described(text) == condition
