"""The choices of a multiple-choice row, and which of them an answer gives: by its letter or by its value."""

import re
from collections.abc import Mapping
from typing import Any

from mindgap_data.verify.math.kinds import Option
from mindgap_data.verify.math.latex import UnreadableError, normalise
from mindgap_data.verify.math.options import read_option, words_of
from mindgap_data.verify.math.sentences import is_open, last_line, sentences

LETTERS = "ABCDEFGHIJ"
CHOICE_FIELDS = ("choices", "options")
PROBLEM_FIELDS = ("problem", "question", "prompt", "input")
MAX_PROBLEM = 20_000

_MARK = re.compile(
    r"(?:\\text(?:bf|rm)?\s?\{|\\mathrm\s?\{|\\mathbf\s?\{|\*\*)?\(([A-J])\)\s?(?:\}|\*\*)?|(?:^|\n)\s{0,8}([A-J])[.):]\s"
)
_LETTER = r"\(?([A-J])\)?"
_LETTERS = r"\(?[A-J]\)?(?:(?:,| and|, and| &) \(?[A-J]\)?)*"
_KIND = r"(?:options?|choices?|answers?|statements?|(?:correct|right|best) ones?)"
# A sentence that is nothing but an option, one that calls an option right, and one that ends in the letters.
_ALONE = re.compile(rf"(?:{_KIND}:? )?{_LETTER}(?:[.):] .{{1,100}})?", re.IGNORECASE)
_IS_RIGHT = re.compile(
    rf"(?:(?:so|thus|therefore|hence),? )?(?:the )?{_KIND} (?P<letters>{_LETTERS}) (?:is|are) (?:both |all )?(?:the )?"
    rf"(?:correct|right|true|best)(?: {_KIND}| one)?",
    re.IGNORECASE,
)
_ENDS = re.compile(
    rf".*\b{_KIND}\b[^.?\n]{{0,40}}?(?:\b(?:is|are)|:) ?(?:{_KIND} )?(?P<letters>{_LETTERS})(?:[.):,] .{{1,100}})?",
    re.IGNORECASE,
)
_IN_BRACKETS = re.compile(r".*(?:\boption|\bchoice)? ?\(([A-J])\)|.*\b(?:option|choice) ([A-J])", re.IGNORECASE)


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
    """The letter, or letters, that a response without a marked answer ends in: "(C)", "Option C.", "C. 12 cm"."""
    line = re.sub(r"\*\*|\$|\\[()]", "", last_line(response)).strip()
    alone = _ALONE.fullmatch(line.rstrip("."))
    if alone and (alone[1].isupper() or len(line) == 1):
        return alone[1].upper()
    parts = sentences(line)
    sentence = parts[-1].strip().rstrip(".!") if parts else ""
    if is_open(sentence) or len(sentence) > 400:
        return None
    several = _IS_RIGHT.fullmatch(sentence) or _ENDS.fullmatch(sentence)
    if several and several["letters"].isupper() | (len(several["letters"]) > 1):
        return ", ".join(re.findall(r"(?<![A-Za-z])[A-J](?![A-Za-z])", several["letters"])) or None
    last = _IN_BRACKETS.fullmatch(sentence)
    return (last[1] or last[2]).upper() if last else None
