"""Multiple choice: the letter a response settles on, or the value behind it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mindgap_data.verify import Verdict
from mindgap_data.verify.answers import find_answer
from mindgap_data.verify.math.choices import choices_of, closing_letter, letter_of

_IS_LETTER = re.compile(r"\b(?:option|choice|letter|answer)\s+(?:is\s+)?\**\(?([A-J])\b\)?", re.IGNORECASE)


@dataclass(frozen=True)
class ChoiceVerifier:
    """Checks the letter of a multiple choice.

    The reference is a letter, or the text of one of the row's choices; the response may give either. The
    choices come from the row's field ``choices`` or ``options`` (a list, an object letter -> text, or
    ``{"label": [...], "text": [...]}``), or from "(A) ... (B) ..." in the problem.
    """

    kind: ClassVar[str] = "checked"

    def __call__(self, response: str, answer: str, row: Mapping[str, Any]) -> Verdict:
        """Verdict; a reference that is neither a letter nor one of the row's choices is a checker error."""
        choices = choices_of(row)
        gold = letter_of(answer, choices)
        if gold is None:
            return Verdict.CHECKER_ERROR
        found = find_answer(response)
        text = found.text if found else closing_letter(response)
        if text is None:
            return Verdict.NO_ANSWER
        letter = letter_of(text, choices)
        if letter is None and found is not None and found.how == "stated":
            letters = set(_IS_LETTER.findall("answer " + text))
            others = set(re.findall(r"\b[B-J]\b", text)) - letters  # "B or C"; an A may be an article
            letter = letters.pop().upper() if len(letters) == 1 and not others else None
        return Verdict.CORRECT if letter == gold else Verdict.WRONG
