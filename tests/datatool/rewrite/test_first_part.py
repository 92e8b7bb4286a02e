"""The first part of a solution: near half, whole sentences, never with the answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindgap_data.rewrite.first_part import first_part

CASES = [
    # The boundary nearest to half.
    ("One two. Three four. Five six. Seven eight.", "9", "One two. Three four."),
    ("A first line\nA second line\nA third line\nThe answer is 9.", "9", "A first line\nA second line"),
    ("数有三个。再加四个。然后相乘。答案是九。", "9", "数有三个。再加四个。"),
    # Before the answer, wherever that is.
    ("Add 2 and 3. That makes 5. So 5 it is, as we have seen, and nothing more.", "5", "Add 2 and 3."),
    ("She has 1,200 beads. Half is 600. She keeps them. That is all.", "1200", None),
    ("He pays 4 dollars. One third is 0.5 here. Done now. And so on.", "1/2", "He pays 4 dollars."),
    (r"There are two. That is \frac{2}{4}. So it is. Well.", "0.5", "There are two."),
    ("There are 14. There are 40 more. So 4 it is.", "4", "There are 14."),
    ("A man walks. A dog runs. So the choice is A.", "A", None),
    ("We see a man. We see a dog. The choice is A.", "A", "We see a man. We see a dog."),
    # Before what announces it, even if it is written another way.
    (r"Two and two. The answer is \boxed{four}. As was said, it is so, and so on.", "4", "Two and two."),
    ("Two and two.\n#### 4\nAnd more of it, and more, and more.", "four", "Two and two."),
    # Not inside a formula or a block of code.
    ("So $x = 2. 5$ holds. Then more. \\[ a\n= b. \\] That is it, then.", "7", "So $x = 2. 5$ holds. Then more."),
    ("```\na = 1\nb = 2\n```\nIt prints three. And so on, for ever.", "3", "```\na = 1\nb = 2\n```\nIt prints three."),
    # Nothing left.
    ("2 + 3 = 5. The answer is 5.", "5", None),
    ("No end of a sentence", "5", None),
    ("Only one sentence.", "5", None),
    ("", "5", None),
]


@pytest.mark.parametrize(("solution", "answer", "part"), CASES)
def test_where_a_solution_is_cut(solution: str, answer: str, part: str | None) -> None:
    assert first_part(solution, answer) == part


@given(
    st.lists(st.sampled_from(["Add 3.", "So 12 it is.", "We get 1/2 now.", "$x = 4. 5$.", "The answer is", "Then\n"])),
    st.sampled_from(["12", "3", "0.5", "no"]),
)
def test_the_part_begins_the_solution_and_never_has_the_answer(pieces: list[str], answer: str) -> None:
    solution = " ".join(pieces)
    part = first_part(solution, answer)
    if part is not None:
        assert solution.strip().startswith(part)
        assert len(part) < len(solution.strip())
        assert answer not in part.replace("1/2", "0.5").split()
        assert "answer is" not in part
        assert part.count("$") % 2 == 0


@pytest.mark.parametrize("unit", ["a. ", "$", "\\[ ", "```\n", "1/", "9,999", "answer ", "("])
def test_two_megabytes_are_cut_in_linear_time(unit: str) -> None:
    first_part(unit * (2_000_000 // len(unit)), "123456")
