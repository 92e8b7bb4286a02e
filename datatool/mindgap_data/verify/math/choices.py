"""The choices of a multiple-choice row, and which of them an answer gives: by its letter or by its value."""

import re
from collections.abc import Mapping
from typing import Any

from mindgap_data.verify.answers import TAIL, strip_thinking
from mindgap_data.verify.math.kinds import Option
from mindgap_data.verify.math.latex import UnreadableError, normalise
from mindgap_data.verify.math.reading import read_option, words_of

LETTERS = "ABCDEFGHIJ"
CHOICE_FIELDS = ("choices", "options")
PROBLEM_FIELDS = ("problem", "question", "prompt", "input")
MAX_PROBLEM = 20_000

_MARK = re.compile(
    r"(?:\\text(?:bf|rm)?\s?\{|\\mathrm\s?\{|\\mathbf\s?\{|\*\*)?\(([A-J])\)\s?(?:\}|\*\*)?|(?:^|\n)\s{0,8}([A-J])[.):]\s"
)
_CLOSING = re.compile(r"(?:^|\s)(?:option |choice )?\**\(?([A-J])\)?\**[.)]?\**$")
_BOLD_CHOICE = re.compile(r"\*\*\(?([A-J])[.):] [^*\n]{1,100}\*\*\.?")
_CORRECT = re.compile(
    r"(?:so |thus |therefore,? )?(?:option|choice) \(?([A-J])\)? is (?:the )?(?:correct|right)"
    r"(?: one| answer| choice)?[.!]?",
    re.IGNORECASE,
)
_LETTER_IS = re.compile(
    r"\b(?:option|choice|correct one)\b[^.?\n]{0,30}?\b(?:is|:)\s*\**\(?([A-J])\)?\**\.?$", re.IGNORECASE
)


def letter_of(text: str, choices: Mapping[str, str]) -> str | None:
    """The letter ``text`` gives, alone, before its value, or by the value of exactly one choice."""
    try:
        text = normalise(text)
    except UnreadableError:
        return None
    option = read_option(text.upper() if len(text) <= 3 else text)
    if option is not None and (not choices or option.letter in choices):
        return option.letter
    same = [letter for letter, value in choices.items() if _same_choice(value, text)]
    return same[0] if len(same) == 1 else None


def choice_value(option: Option, choices: Mapping[str, str]) -> str | None:
    """The value behind a letter: the row's, or what was written beside it."""
    return choices.get(option.letter) or option.value or None


def choices_of(row: Mapping[str, Any]) -> dict[str, str]:
    """The choices of a row, letter -> text; empty when it has none."""
    for field in CHOICE_FIELDS:
        choices = _listed(row.get(field))
        if choices:
            return choices
    for field in PROBLEM_FIELDS:
        problem = row.get(field)
        if isinstance(problem, str):
            choices = _marked(problem[-MAX_PROBLEM:])
            if choices:
                return choices
    return {}


def _listed(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping) and isinstance(value.get("text"), list):
        labels = value.get("label") or value.get("labels") or list(LETTERS)
        return {str(label): str(text) for label, text in zip(labels, value["text"], strict=False)}
    if isinstance(value, Mapping):
        return {str(letter).strip("() .").upper(): str(text) for letter, text in value.items()}
    if isinstance(value, list) and value:
        texts = [re.sub(r"^\s?\(?[A-J][).:]\s", "", str(text)) for text in value]
        return dict(zip(LETTERS, texts, strict=False))
    return {}


def _marked(problem: str) -> dict[str, str]:
    """Choices written out in a problem, when their letters run from A without a gap."""
    marks = list(_MARK.finditer(problem))
    letters = "".join(mark[1] or mark[2] for mark in marks)
    start = letters.rfind("A")
    marks, letters = marks[start:], letters[start:]
    if start < 0 or len(letters) < 2 or not LETTERS.startswith(letters):
        return {}
    ends = [mark.start() for mark in marks[1:]] + [len(problem)]
    texts = [problem[mark.end() : end] for mark, end in zip(marks, ends, strict=True)]
    return {
        letter: re.sub(r"\\q?quad|\\\\|\n|\$\s*$", " ", text).strip(" $\\.,;")
        for letter, text in zip(letters, texts, strict=True)
    }


def _same_choice(value: str, text: str) -> bool:
    try:
        value = normalise(value)
    except UnreadableError:
        return False
    return value == text or (bool(words_of(text)) and words_of(value) == words_of(text))


def closing_letter(response: str) -> str | None:
    """The letter a response without a marked answer ends in: "(C)", "Option C.", or the letter alone."""
    body = strip_thinking(response)
    if body is None:
        return None
    lines = body[-TAIL:].strip().rsplit("\n", 1)
    line = lines[-1].strip()
    if re.fullmatch(r"[A-Ja-j]", line):
        return line.upper()
    whole = _BOLD_CHOICE.fullmatch(line) or _CORRECT.fullmatch(line)
    if whole:
        return whole[1].upper()
    named = _LETTER_IS.search(line[-200:])
    if named and not re.search(r"\bnot\b|n't\b", line):
        return named[1].upper()
    match = _CLOSING.search(line[-200:])
    return match[1] if match and (line.strip("*(). ") == match[1] or "(" in match[0] or "ption" in match[0]) else None
