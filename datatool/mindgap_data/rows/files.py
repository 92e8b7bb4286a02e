"""Files of rows: streamed reading with file:line errors, and writing that appears by atomic rename."""

import gzip
import io
import json
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from mindgap_data.errors import UserError

MAX_ROW_BYTES = 64 * 2**20


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def strict_loads(text: str) -> Any:
    """``json.loads`` that refuses NaN and infinities, which are no JSON and could not be written again."""
    return _DECODER.decode(text)


@dataclass(frozen=True)
class RawRow:
    """One row of a file, or why it could not be read."""

    line: int  # 1-based
    row: dict[str, Any] | None
    error: str | None = None


def read_raw_rows(path: Path, loads: Callable[[str], Any] = strict_loads) -> Iterator[RawRow]:
    """Stream the rows of a JSONL (.jsonl, .json, .gz) file; a bad line is yielded with its error.

    A .json file that is one array of rows is read as that, each row with the line it begins on.
    Memory is bounded by the longest row, at most 64 MiB; blank lines are passed over.

    Args:
        path: the file.
        loads: the JSON parser of a line; :func:`fast_loads` suits whoever only reads numbers.

    Raises:
        UserError: the file does not exist or cannot be read, or an array breaks off.
    """
    try:
        with open_bytes(path) as file:
            yield from _parse_array(path, file) if _is_array(path, file) else _parse_lines(file, loads)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path}: cannot be read: {reason}") from error


def read_rows(path: Path, loads: Callable[[str], Any] = strict_loads) -> Iterator[tuple[int, dict[str, Any]]]:
    """Stream (line number, row) of a JSONL file whose every line must be good.

    Raises:
        UserError: naming file:line of the first bad line, or that the file is empty.
    """
    empty = True
    for raw in read_raw_rows(path, loads):
        empty = False
        if raw.row is None:
            raise UserError(f"{path}:{raw.line}: {raw.error}")
        yield raw.line, raw.row
    if empty:
        raise UserError(f"{path}: the file has no rows")


def fast_loads(text: str) -> Any:
    """``json.loads``, several times faster on lists of log-probs; integers beyond 64 bits come out as floats."""
    import orjson

    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)  # knows NaN and lone surrogates, and words the error


def dumps(value: Any) -> str:
    """One line of JSON, UTF-8 kept, no spaces to spare; NaN is refused."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair has no UTF-8; as an escape it survives.
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text


class AtomicWriter:
    """Writes lines beside ``path`` and puts the file in its place, whole, on :meth:`finish`.

    Used as a context manager: left without :meth:`finish`, the part file is removed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.part = path.with_name(path.name + ".part")
        self._file: IO[str] | None = None

    def __enter__(self) -> "AtomicWriter":
        try:
            self._file = self.part.open("w", encoding="utf-8", newline="\n")
        except OSError as error:
            raise UserError(f"{self.part}: cannot be written: {error.strerror}") from error
        return self

    def write(self, row: Any) -> None:
        """Append one row as a line of JSON."""
        self.write_text(dumps(row) + "\n")

    def write_text(self, text: str) -> None:
        """Append text as it is."""
        assert self._file is not None, "write outside the with block"
        try:
            self._file.write(text)
        except OSError as error:
            raise UserError(f"{self.part}: cannot be written: {error.strerror}; free some room and rerun") from error

    def finish(self) -> None:
        """Flush to disk and rename into place."""
        assert self._file is not None, "finish outside the with block"
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self.part, self.path)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror}; free some room and rerun") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None and not self._file.closed:
            with suppress(OSError):
                self._file.close()
        with suppress(OSError):
            self.part.unlink(missing_ok=True)


def open_bytes(path: Path) -> io.BufferedReader:
    """The file's bytes, decompressed when its name ends in .gz."""
    if path.suffix == ".gz":
        return io.BufferedReader(gzip.open(path, "rb"))
    return path.open("rb")


def _parse_lines(file: IO[bytes], loads: Callable[[str], Any]) -> Iterator[RawRow]:
    number = 0
    while line := file.readline(MAX_ROW_BYTES + 1):
        number += 1
        if len(line) > MAX_ROW_BYTES:
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_ROW_BYTES)
            yield RawRow(number, None, f"the row is longer than {MAX_ROW_BYTES >> 20} MiB")
            continue
        if line.isspace():
            continue
        yield _parse_line(number, line, loads)


def _parse_line(number: int, line: bytes, loads: Callable[[str], Any]) -> RawRow:
    try:
        row = loads(line.rstrip(b"\r\n").decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        return RawRow(number, None, f"not UTF-8 at byte {error.start} of the line")
    except json.JSONDecodeError as error:
        return RawRow(number, None, f"not JSON: {error.msg} at column {error.colno}")
    except ValueError as error:
        return RawRow(number, None, f"not JSON: {error}")
    except RecursionError:
        return RawRow(number, None, "JSON nested too deeply")
    return _raw_row(number, row)


def _raw_row(number: int, row: Any) -> RawRow:
    if not isinstance(row, dict):
        return RawRow(number, None, f"a row must be a JSON object, this is a {type(row).__name__}")
    return RawRow(number, row)


_SPACE = " \t\r\n"
_CHUNK = 1 << 16


def _is_array(path: Path, file: io.BufferedReader) -> bool:
    name = path.name.removesuffix(".gz")
    return name.endswith(".json") and file.peek(_CHUNK)[:_CHUNK].removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["


def _parse_array(path: Path, file: IO[bytes]) -> Iterator[RawRow]:
    """Rows of one JSON array, decoded one at a time from a buffer that holds little more than the next row."""
    text = _Buffer(path, file)
    text.take("[")
    if text.next_char() == "]":
        return
    while True:
        yield text.take_row()
        if text.take(",]") == "]":
            return


class _Buffer:
    """Text read ahead of a JSON array's parser, and the line it stands on."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._file = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        self._text = ""
        self._line = 1

    def next_char(self) -> str:
        """The next character that is no white space."""
        while True:
            bare = self._text.lstrip(_SPACE)
            self._drop(len(self._text) - len(bare))
            if bare:
                return bare[0]
            if not self._read_more(_CHUNK):
                raise UserError(f"{self._path}:{self._line}: the array breaks off before its closing bracket")

    def take(self, wanted: str) -> str:
        """Pass over one of the characters of ``wanted``."""
        char = self.next_char()
        if char not in wanted:
            raise UserError(f"{self._path}:{self._line}: not JSON: {' or '.join(wanted)} is wanted, this is {char!r}")
        self._drop(1)
        return char

    def take_row(self) -> RawRow:
        """Decode the next value."""
        self.next_char()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text)
            except (ValueError, RecursionError) as error:
                # Perhaps cut off by the buffer's end: read as much again.
                if len(self._text) < MAX_ROW_BYTES and self._read_more(max(_CHUNK, len(self._text))):
                    continue
                reason = getattr(error, "msg", None) or str(error)
                raise UserError(f"{self._path}:{self._line}: not JSON: {reason}") from error
            if end < len(self._text) or not self._read_more(_CHUNK):
                row = _raw_row(self._line, value)
                self._drop(end)
                return row

    def _drop(self, count: int) -> None:
        self._line += self._text.count("\n", 0, count)
        self._text = self._text[count:]

    def _read_more(self, size: int) -> bool:
        try:
            more = self._file.read(size)
        except UnicodeDecodeError as error:
            raise UserError(f"{self._path}:{self._line}: not UTF-8 from here on") from error
        self._text += more
        return bool(more)
