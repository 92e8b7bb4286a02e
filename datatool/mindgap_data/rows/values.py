"""One value of a row as text, and the words for a value that cannot be used."""

import math
from collections.abc import Mapping
from typing import Any

from mindgap_data.errors import one_line

Row = Mapping[str, Any]


class RowError(ValueError):
    """Why a row cannot be used, in one line; the row goes to the failed file."""


def text_of(row: Row, column: str) -> str:
    """Text of a column. Raises RowError where it holds something else, or nothing."""
    value = row.get(column)
    if not isinstance(value, str):
        raise RowError(f"field {column}: must be text, not {described(value)}")
    if not value.strip():
        raise RowError(f"field {column}: is empty")
    return value


def scalar_text(field: str, value: Any) -> str:
    """Text of an answer or an id: whole floats lose their .0."""
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise RowError(f"field {field}: must be text or a number, not {described(value)}")


def columns_found(row: Row) -> str:
    """The row's columns, for an error."""
    return "columns found: " + (", ".join(one_line(name, 40) for name in list(row)[:12]) or "none")


def described(value: Any) -> str:
    """A value and its type, for an error."""
    return "null" if value is None else f"{type(value).__name__} {one_line(value, 40)}"
