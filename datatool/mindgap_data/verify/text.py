"""Exact match and regular expressions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mindgap_data.errors import UserError
from mindgap_data.verify import Verdict
from mindgap_data.verify.answers import find_answer, strip_thinking

MAX_RESPONSE = 200_000
MAX_PATTERN = 2_000


@dataclass(frozen=True)
class ExactVerifier:
    """The marked answer, or else the whole response, equals the reference; differences in white space are ignored.

    Attributes:
        ignore_case: whether upper and lower case are the same.
    """

    ignore_case: bool = False
    kind: ClassVar[str] = "checked"

    def __post_init__(self) -> None:
        if not isinstance(self.ignore_case, bool):
            raise UserError(f"verifier 'exact': option ignore_case must be yes or no, got {self.ignore_case!r}")

    def __call__(self, response: str, answer: str, row: Mapping[str, Any]) -> Verdict:
        """Verdict; an empty response, or one that never stops thinking, gives no answer."""
        body = strip_thinking(response)
        if body is None or not body.strip():
            return Verdict.NO_ANSWER
        gold = self._spelled(answer)
        if self._spelled(body) == gold:
            return Verdict.CORRECT
        found = find_answer(response)
        return Verdict.CORRECT if found is not None and self._spelled(found.text) == gold else Verdict.WRONG

    def _spelled(self, text: str) -> str:
        text = " ".join(text.split())
        return text.casefold() if self.ignore_case else text


@dataclass(frozen=True)
class RegexVerifier:
    """A regular expression (Python's ``re``) matches somewhere in the response after its thinking block.

    The pattern is the row's field ``pattern``, or the option, or else the reference answer itself. A
    pattern that runs without end meets the pool's time limit: a checker error.

    Attributes:
        pattern: for rows that bring none.
    """

    pattern: str | None = None
    kind: ClassVar[str] = "checked"
    needs_answer: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.pattern is not None:
            if not isinstance(self.pattern, str):
                raise UserError(
                    f"verifier 'regex': option pattern must be text, got {self.pattern!r}; put it in double quotes"
                )
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise UserError(f"verifier 'regex': option pattern: {error}; see Python's re module") from error

    def __call__(self, response: str, answer: str, row: Mapping[str, Any]) -> Verdict:
        """Verdict; a pattern that is not a regular expression is a checker error."""
        body = strip_thinking(response)
        if body is None or not body.strip():
            return Verdict.NO_ANSWER
        pattern = row.get("pattern", self.pattern)
        pattern = answer if pattern is None else pattern
        if not isinstance(pattern, str) or len(pattern) > MAX_PATTERN or len(body) > MAX_RESPONSE:
            return Verdict.CHECKER_ERROR
        try:
            return Verdict.CORRECT if re.search(pattern, body) else Verdict.WRONG
        except (re.error, RecursionError, OverflowError):
            return Verdict.CHECKER_ERROR
