r"""Parts of the real line: one region however it is described, and never another one."""

from itertools import combinations

import pytest

from mindgap_data.verify.math.latex import normalise
from mindgap_data.verify.math.regions import region, same_region

# One region a line, in several descriptions.
SAME = [
    [r"(2, 5]", r"2 < x \le 5", r"\{x | 2 < x \le 5\}", r"5 \ge x > 2", r"x > 2 \text{ and } x \le 5", r"x \in (2, 5]"],
    [r"x > 3", r"(3, \infty)", r"\{ x \in \mathbb{R} : x > 3\}", r"\{x : x \in \mathbb{R}, x > 3\}",
     r"\text{all real numbers } x \text{ such that } x > 3", r"\text{all real numbers greater than } 3"],
    [r"\mathbb{R} \setminus \{3, -1\}", r"(-\infty,-1) \cup (-1,3) \cup (3,\infty)", r"x \ne -1, 3",
     r"\text{all real numbers except } -1, 3"],
    [r"(2,12) \cup (12,102)", r"(2, 102) \setminus \{12\}", r"\{x : 2 < x < 102,\ x \ne 12\}",
     r"2 < x < 12 \text{ or } 12 < x < 102"],
    [r"|x| < \sqrt{3}", r"(-\sqrt{3}, 3^{1/2})"],
    [r"|x - 1| \ge 2", r"(-\infty, -1] \cup [3, \infty)", r"\mathbb{R} \setminus (-1, 3)",
     r"x \le -1 \text{ or } x \ge 3"],
    [r"[-1, 3)", r"(-\infty, 3) \cap [-1, \infty)", r"[-1, 2] \cup (1, 3)"],
    [r"\mathbb{R}", r"(-\infty, +\infty)", r"\text{all real numbers}", r"x < 1 \text{ or } x \ge 1"],
]  # fmt: skip


@pytest.mark.parametrize("descriptions", SAME)
def test_one_region_has_many_descriptions(descriptions: list[str]) -> None:
    assert len({region(normalise(text)) for text in descriptions}) == 1
    assert region(normalise(descriptions[0])) is not None


def test_different_regions_differ() -> None:
    assert not any(region(normalise(left[0])) == region(normalise(right[0])) for left, right in combinations(SAME, 2))


@pytest.mark.parametrize(
    "text", [r"\{1, 2\}", "3", "x = 3", "x + y < 3", "(a, b)", "(1, 2, 3)", r"\{x \in \mathbb{Z} : x > 3\}"]
)
def test_what_is_no_region_is_left_to_others(text: str) -> None:
    assert same_region(normalise(text), normalise("x > 3")) is None


def test_two_brackets_with_two_numbers_may_be_points() -> None:
    assert same_region("(3, 5)", "(3, 5)") is None
