"""No check, for tasks whose answers cannot be checked: every complete response counts as correct."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mindgap_data.verify import Verdict
from mindgap_data.verify.answers import strip_thinking


@dataclass(frozen=True)
class UncheckedVerifier:
    """Accepts every response that says something after its thinking block; its ``kind`` is "unchecked"."""

    kind: ClassVar[str] = "unchecked"
    needs_answer: ClassVar[bool] = False

    def __call__(self, response: str, answer: str, row: Mapping[str, Any]) -> Verdict:
        """Correct; an empty response, or one that never stops thinking, gives no answer."""
        body = strip_thinking(response)
        return Verdict.NO_ANSWER if body is None or not body.strip() else Verdict.CORRECT

    def quick(self, response: str, answer: str, row: Mapping[str, Any]) -> Verdict:
        """The same verdict: it needs no worker."""
        return self(response, answer, row)
