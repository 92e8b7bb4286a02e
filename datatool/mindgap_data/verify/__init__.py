"""Verifiers: is this response right? One interface; the verdict is one of four, never an exception."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol


class Verdict(StrEnum):
    """What a verifier can say of a response."""

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    CHECKER_ERROR = "checker_error"


class Verifier(Protocol):
    """Checks one response. Implementations are importable by name, picklable, and hold no state."""

    def __call__(self, response: str, answer: str, row: Mapping[str, Any]) -> Verdict:
        """Verdict on ``response`` against the reference ``answer``; ``row`` is the whole input row."""
