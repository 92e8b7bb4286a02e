r"""The tokens of an expression."""

import re
from fractions import Fraction

MAX_TOKENS = 600


class UnsupportedError(Exception):
    """Not an expression this parser reads."""


_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?(?![0-9])|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
    r"|\\(?P<command>[A-Za-z]+)|(?P<escaped>\\.)|(?P<letter>[A-Za-z])|(?P<symbol>[-+*/^_!(){}\[\]|%=<>,]))"
)

_DEGREES = re.compile(r"(?<![0-9])([0-9]{1,40}(?:\.[0-9]+)?) ?\\text\{ degrees\}")

_LONG_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{5,}")


def tokenise(text: str) -> list[tuple[str, str]]:
    """(kind, text) of every token: a number, command, letter, symbol or escaped character.

    Raises:
        UnsupportedError: words or other symbols, or more than ``MAX_TOKENS`` tokens.
    """
    text = _DEGREES.sub(r"(\1\\pi/180)", text)
    if _LONG_WORD.search(text):
        raise UnsupportedError("words")
    tokens: list[tuple[str, str]] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or len(tokens) >= MAX_TOKENS:
            raise UnsupportedError("symbols")
        kind = str(match.lastgroup)
        tokens.append((kind, match.group(kind)))
        at = match.end()
    return tokens


def number_value(text: str) -> Fraction:
    """The value of a number token."""
    text = text.replace(",", "")
    if len(text) > 400:
        raise UnsupportedError("digits")
    return Fraction(text if not text.startswith(".") else "0" + text)
