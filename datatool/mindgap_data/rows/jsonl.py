"""JSON and JSONL: a value from text and back, the lines of a file as rows, bad ones with their fault."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

import jsonlines
import orjson

MAX_ROW_BYTES = 64 * 2**20

# orjson reads an integer beyond 64 bits as a float.
_LONG_INTEGER = re.compile(r"\d{19}")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"{digits:.40} is too large for a number")
    return value


DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


@dataclass(frozen=True)
class RawRow:
    """One row of a file, or why it could not be read."""

    line: int  # 1-based
    row: dict[str, Any] | None
    error: str | None = None
    # The line as it stands, where it could not be read; bytes that are not UTF-8 as lone surrogates.
    text: str | None = field(default=None, compare=False)
    turn: int | None = None  # which assistant turn is the demonstration, from 1; None: the last


def loads(text: str | bytes) -> Any:
    """JSON, by orjson where it reads every value exactly; NaN and infinities are refused: they are not JSON.

    Raises:
        ValueError: it is not JSON.
    """
    if isinstance(text, bytes):
        text = text.decode()
    if _LONG_INTEGER.search(text) is None:
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            pass  # half a surrogate pair, which the standard library can hold; or a fault, which it words better
    try:
        return DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def dumps(value: Any) -> str:
    """One line of JSON, UTF-8 kept, no spaces to spare; NaN is refused."""
    # The standard library: orjson writes null for NaN without a word, and other digits for small numbers.
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair has no UTF-8; as an escape it survives.
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text


def raw_line(raw: RawRow) -> str:
    """A row as a line of JSON, with its number and fault; the inverse of :func:`raw_of_line`."""
    try:
        return dumps(vars(raw))
    except (ValueError, RecursionError):
        return dumps(vars(RawRow(raw.line, None, "nested too deeply", turn=raw.turn)))


def raw_of_line(line: str) -> RawRow:
    """The row that :func:`raw_line` wrote."""
    return RawRow(**loads(line))


def raw_row(number: int, row: Any) -> RawRow:
    """A parsed value as a row: it must be an object."""
    if not isinstance(row, dict):
        return RawRow(number, None, f"a row must be a JSON object, not {type(row).__name__}")
    return RawRow(number, row)


def parse_lines(file: IO[bytes]) -> Iterator[RawRow]:
    """The rows of a JSONL file; a line that cannot be read is yielded with its fault."""
    lines = _Lines(file)
    reader = jsonlines.Reader(lines, loads=loads)
    while True:
        try:
            value = reader.read(allow_none=True, skip_empty=True)
        except EOFError:
            return
        except _TooLongError:
            yield RawRow(lines.number, None, f"the row is longer than {MAX_ROW_BYTES >> 20} MiB")
        except jsonlines.InvalidLineError as error:
            yield RawRow(lines.number, None, _fault(error.__cause__), _as_it_stands(error.line))
        else:
            yield raw_row(lines.number, value)


class _TooLongError(Exception):
    """A line longer than MAX_ROW_BYTES."""


class _Lines:
    """The lines of a file, each read whole or refused for its length; ``number`` is that of the last one."""

    def __init__(self, file: IO[bytes]) -> None:
        self.number = 0
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            line = self._file.readline(MAX_ROW_BYTES + 1)
        except EOFError as error:  # a torn .gz; jsonlines means the end of the file by it
            raise OSError(str(error)) from error
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) <= MAX_ROW_BYTES:
            return line.rstrip(b"\r\n")
        while line and not line.endswith(b"\n"):
            line = self._file.readline(MAX_ROW_BYTES)
        raise _TooLongError


def _fault(cause: BaseException | None) -> str:
    match cause:
        case UnicodeDecodeError():
            return f"not UTF-8 at byte {cause.start} of the line"
        case json.JSONDecodeError():
            return f"not JSON: {cause.msg} at column {cause.colno}"
    return f"not JSON: {cause}"


def _as_it_stands(line: str | bytes) -> str:
    return line.decode("utf-8", "surrogateescape") if isinstance(line, bytes) else line
