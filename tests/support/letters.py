"""A verifier of a user's own, for tests whose random model answers no arithmetic: is the letter in the text?"""

from collections.abc import Mapping
from typing import Any

from mindgap_data.verify import Verdict


def holds(response: str, answer: str, row: Mapping[str, Any]) -> Verdict:
    """Correct when ``answer`` stands in ``response``; no answer when there is no letter at all."""
    if not any(char.isalpha() for char in response):
        return Verdict.NO_ANSWER
    return Verdict.CORRECT if answer in response else Verdict.WRONG
