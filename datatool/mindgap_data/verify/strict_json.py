"""JSON as the standard has it, and equality of JSON values."""

import json
from typing import Any, NoReturn

MAX_JSON = 1_000_000


def loads(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: not JSON, NaN or infinite, a key twice in one object, or longer than ``MAX_JSON`` characters.
        RecursionError: nested too deeply.
    """
    if len(text) > MAX_JSON:
        raise ValueError(f"longer than {MAX_JSON} characters")
    return json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)


def same(left: Any, right: Any) -> bool:
    """Equality in which true is not 1, and 1 is 1.0."""
    return left == right and json.dumps(_typed(left), sort_keys=True) == json.dumps(_typed(right), sort_keys=True)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _typed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else value
