"""Does a response keep to instructions a program can check: length, format, words to use or to avoid."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mindgap_data.verify import Verdict
from mindgap_data.verify.answers import strip_thinking

MAX_RESPONSE = 200_000

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_BULLET = re.compile(r"^\s*[-*•]\s+\S", re.MULTILINE)
_NUMBERED = re.compile(r"^\s*\d+[.)]\s+\S", re.MULTILINE)
_SENTENCE_END = re.compile(r"[.!?]+(?:[\"')\]]*)(?=\s|$)")


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _has(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def _plain(text: str) -> str:
    return " ".join(text.split()).strip(" .!\"'*").casefold()


def _object_with(text: str, keys: list[str]) -> bool:
    body = re.sub(r"^```(?:json)?\s*|\s*```$", "", text.strip())
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and set(keys) <= set(value)


# What an instruction may ask for -> does the text, given the instruction's value, do so.
CHECKS: dict[str, Callable[[str, Any], bool]] = {
    "words_at_least": lambda text, n: len(_words(text)) >= n,
    "words_at_most": lambda text, n: len(_words(text)) <= n,
    "sentences": lambda text, n: len(_SENTENCE_END.findall(text)) == n,
    "paragraphs": lambda text, n: len([part for part in re.split(r"\n\s*\n", text) if part.strip()]) == n,
    "lines": lambda text, n: len([line for line in text.splitlines() if line.strip()]) == n,
    "bullets": lambda text, n: len(_BULLET.findall(text)) == n,
    "numbered": lambda text, n: len(_NUMBERED.findall(text)) == n,
    "contains": lambda text, words: all(_has(text, word) for word in words),
    "avoids": lambda text, words: not any(_has(text, word) for word in words),
    "starts_with": lambda text, start: text.lstrip().casefold().startswith(start.casefold()),
    "ends_with": lambda text, end: text.rstrip().casefold().endswith(end.casefold()),
    "one_of": lambda text, answers: _plain(text) in {_plain(answer) for answer in answers},
    "lowercase": lambda text, wanted: (text == text.lower()) is wanted,
    "uppercase": lambda text, wanted: (text == text.upper()) is wanted,
    "no_commas": lambda text, wanted: ("," not in text) is wanted,
    "quoted": lambda text, wanted: (text.strip()[:1] == '"' == text.strip()[-1:] and len(text.strip()) > 1) is wanted,
    "json_keys": _object_with,
}


@dataclass(frozen=True)
class InstructionsVerifier:
    """All checks of the row's field ``checks`` hold: an object of names from ``CHECKS`` and their values."""

    kind: ClassVar[str] = "checked"
    needs_answer: ClassVar[bool] = False

    def __call__(self, response: str, answer: str, row: Mapping[str, Any]) -> Verdict:
        """Verdict; checks that are missing or unknown are a checker error."""
        body, checks = strip_thinking(response), row.get("checks")
        if body is None or not body.strip():
            return Verdict.NO_ANSWER
        if not isinstance(checks, dict) or not checks or not set(checks) <= set(CHECKS) or len(body) > MAX_RESPONSE:
            return Verdict.CHECKER_ERROR
        kept = all(CHECKS[name](body, value) for name, value in checks.items())
        return Verdict.CORRECT if kept else Verdict.WRONG
