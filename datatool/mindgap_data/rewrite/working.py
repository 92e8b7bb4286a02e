"""Does a response show how its answer came about, or only state it."""

import re

from mindgap_data.rewrite.leaks import words

WORKING_WORDS = 4
_FINAL_ANSWER = re.compile(
    r"\\boxed\{[^\n]{0,200}|####[^\n]{0,200}|\b(?:final )?answer(?: is)?\b[^\n]{0,80}", re.IGNORECASE
)
# A calculation is working, however short: "8 * 2 = 16".
_CALCULATION = re.compile(r"\d ?(?:[-+*/×·÷−]|\\(?:cdot|times|div)\b) ?\$?\(?\d")


def only_answers(text: str, expert: str) -> bool:
    """Whether ``text`` states an answer without any working, where ``expert`` shows some: "The answer is 16."."""
    return _working(text) < WORKING_WORDS <= _working(expert) and not _CALCULATION.search(text)


def _working(text: str) -> int:
    """Words before and after the statement of the final answer."""
    return len(words(_FINAL_ANSWER.sub(" ", text)))
