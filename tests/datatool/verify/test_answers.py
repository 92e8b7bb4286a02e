r"""Where an answer is found, and where none is."""

import pytest

from mindgap_data.verify.answers import find_answer, reference_answer, strip_thinking


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no tags", "no tags"),
        ("<think>a</think>b", "b"),
        ("a</think>b", "b"),  # the template opened the block in the prompt
        ("<think>a</think>b<think>c</think>d", "d"),
        ("<think>a", None),
        ("<think>a</think><think>b", None),
    ],
)
def test_strip_thinking(text: str, expected: str | None) -> None:
    assert strip_thinking(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("worked\n#### 1,234", "1,234"),
        (r"so \boxed{7}", "7"),
        (r"\boxed{7} #### 8", "7"),
        ("#### 7 \n\n", "7"),
        ("no answer", None),
        ("####", None),
    ],
)
def test_reference_answer(text: str, expected: str | None) -> None:
    assert reference_answer(text) == expected


@pytest.mark.parametrize(
    ("text", "expected", "how"),
    [
        (r"The answer is 1. \boxed{2}", "2", "boxed"),  # a box goes before a sentence
        (r"\boxed{2} #### 3", "2", "boxed"),
        (r"\boxed{1} and \boxed{2}", "1, 2", "boxed"),
        (r"\boxed{1}. Hence \boxed{2}", "2", "boxed"),
        (r"\boxed{1} \quad \text{and} \quad \boxed{2}", "1, 2", "boxed"),
        (r"\boxed{1} as well as \boxed{2}", "1, 2", "boxed"),
        (r"\boxed{1} \qquad \boxed{2}", "1, 2", "boxed"),
        ("- $\\boxed{1}$\n- $\\boxed{2}$", "1, 2", "boxed"),
        ("\\boxed{1}\n\n\\boxed{2}", "2", "boxed"),  # a step and the answer
        ("The correct option is **E. 12**", "E", "stated"),
        ("**Answer:** **B**: 12", "B: 12", "stated"),
        ("so\n#### 12 apples.", "12 apples", "hashes"),
        ("The answer is 12 apples because 5 + 7 = 12.", "12 apples", "stated"),
        ("**Answer:** 12", "12", "stated"),
        ("## Final Answer\n\n12", "12", "stated"),
        ("The final answer is $5$. I hope it is correct.", "$5$", "stated"),
        ("The answer is $1$ and $-2$.", "$1$ and $-2$", "stated"),
        ("The answer is $18.50.", "$18.50", "stated"),
        ("The answer is 1. No: the answer is 2.", "2", "stated"),
        ("Answer: (C)", "(C)", "stated"),
        ("3/4", "3/4", "whole"),
        ("**B**", "B", "whole"),
    ],
)
def test_find_answer(text: str, expected: str, how: str) -> None:
    found = find_answer(text)
    assert found is not None
    assert (found.text, found.how) == (expected, how)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I do not know.",
        "The answer is not 7.",
        "The answer isn't 7.",
        r"The answer is not \boxed{7}.",
        r"\boxed{7} is wrong.",
        r"\boxed{7}. Wait, that is wrong.",
        r"\boxed{7} and then \boxed{8",
        r"\boxed{}",
        r"<think>\boxed{7}",
        "The answer is",
        "The answer is 12? No.",
        "####",
    ],
)
def test_find_answer_finds_none(text: str) -> None:
    assert find_answer(text) is None
