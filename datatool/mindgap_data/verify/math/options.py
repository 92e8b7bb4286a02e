r"""Letters of a multiple choice, alone, with their values, or several of them; and words in one spelling."""

import re

from mindgap_data.verify.math.kinds import Letters, Option

_OPTION = re.compile(
    r"(?:(?:option|choice|answer)s? *)?(?:\\text *\{ *)?\(?(?:\\text *\{ *)?([A-J])(?: *\})? *"
    r"(?:(?:\)|\. |\.$|: | (?=\([-0-9][^()]*\)$)|\\text\{[.:)] *\})(?: *\})?|\}) *(?P<value>.*)",
    re.IGNORECASE,
)
_BARE_OPTION = re.compile(r"(?:(?:option|choice) +)?([A-J])", re.IGNORECASE)
_TEXT_GROUP = re.compile(r"\\text *\{([^{}]*)\}")


def read_option(text: str) -> Option | None:
    """A letter of a multiple choice: "(C)", "C) 12", "C. 12", "option C"; a bare letter is one too."""
    bare = _BARE_OPTION.fullmatch(_TEXT_GROUP.sub(r"\1", text).strip())
    if bare and (bare[1].isupper() or len(bare[0]) > 1):
        return Option(bare[1].upper(), "")
    match = _OPTION.fullmatch(text)
    if match is None:
        return _named_option(text)
    if (match[1].islower() and match["value"]) or match["value"].startswith((",", ";")):
        return None
    return Option(match[1].upper(), match["value"].strip())


_NAMED = re.compile(r"(?:option|choice) ([A-J]), (?!(?:and |or )?\(?[A-J]\b)([^,]+)", re.IGNORECASE)


def _named_option(text: str) -> Option | None:
    """ "option B, oxygen"."""
    match = _NAMED.fullmatch(text)
    return Option(match[1].upper(), match[2].strip()) if match else None


def words_of(text: str) -> str:
    """A text answer in the one spelling texts are compared in."""
    text = _TEXT_GROUP.sub(r" \1 ", text).lower()
    text = re.sub(r"[^\w+ ]+", " ", text).strip()
    words = text.split()
    while words and words[0] in {"a", "an", "the", "it", "is"}:
        words.pop(0)
    return " ".join(words)


_LETTERS_SAID = re.compile(
    r"^ *(?:options|choices|letters|both|only) |(?<=[A-J)]) +(?:only|are (?:all )?(?:correct|right|true)) *$",
    re.IGNORECASE,
)
_LETTER = re.compile(r"\(?([A-J])\)?\.?")


def read_letters(text: str) -> Letters | None:
    """Several letters of a multiple choice: "A, C", "(A) and (C)", "\\text{A C}"."""
    spelled = _TEXT_GROUP.sub(r" \1 ", text)
    spelled = _LETTERS_SAID.sub("", spelled)
    parts = [part.strip() for part in re.split(r"[,;]|\\?&|\\[{}]", spelled)]
    if spelled != text or re.fullmatch("[A-J](?: [A-J])+", text):
        parts = " ".join(parts).split()
    letters = [_LETTER.fullmatch(part) for part in parts if part]
    names = [match[1] for match in letters if match and match[0].count("(") == match[0].count(")")]
    several = len(names) == len(letters) == len(set(names)) > 1
    return Letters(frozenset(names)) if several else None
