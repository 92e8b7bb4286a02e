"""Bare answers: nothing to learn from, where the expert shows how it is done."""

import pytest

from mindgap_data.rewrite.working import only_answers

EXPERT = (
    r"It is required to determine the value sought. One observes that \(8 \cdot 2 = 16\), as was to be found. "
    "The answer is 16."
)


@pytest.mark.parametrize(
    ("text", "expert", "bare"),
    [
        ("The answer is 16.", EXPERT, True),
        (r"\boxed{16}", EXPERT, True),
        ("16", EXPERT, True),
        ("Thus 16. The final answer is 16.", EXPERT, True),
        ("8 * 2 = 16. The answer is 16.", EXPERT, False),
        (r"$8 \cdot 2$ is 16.", EXPERT, False),
        ("Eight taken twice makes sixteen. The answer is 16.", EXPERT, False),
        ("The answer is 16.", "The answer is 16.", False),
        ("", EXPERT, True),
    ],
)
def test_what_only_states_an_answer(text: str, expert: str, bare: bool) -> None:
    assert only_answers(text, expert) == bare
