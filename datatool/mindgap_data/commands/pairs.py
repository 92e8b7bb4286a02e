"""NAME=VALUE options: the one grammar of ``--verifier-option`` and ``--engine-arg``."""

import json
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from mindgap_data.errors import UserError

_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False, "null": None}
# The decimals that JSON does not have: ".5", "5.", "+0.5".
_DECIMAL = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")


def pairs_from(texts: Iterable[str], option: str) -> dict[str, Any]:
    """The values of a repeatable NAME=VALUE option, by name.

    A value is JSON (5, 1e-3, [1, 2], {"a": 1}, "yes"), or one of yes, no, on, off, true, false and null in
    either case, and text otherwise. A hyphen in a name is an underscore.

    Args:
        texts: as the user gave them.
        option: the option's name, for messages.

    Raises:
        UserError: a text without a name or without "=".
    """
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UserError(f"{option} {text!r}: give it as NAME=VALUE")
        pairs[name.strip().replace("-", "_")] = _value(value)
    return pairs


def _value(text: str) -> Any:
    word = text.strip().lower()
    if word in _WORDS:
        return _WORDS[word]
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return float(word) if _DECIMAL.fullmatch(word) else text


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
