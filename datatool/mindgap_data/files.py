"""Files of rows: streamed reading with file:line errors, and writing that appears by atomic rename."""

import gzip
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from mindgap_data.errors import UserError

MAX_ROW_BYTES = 64 * 2**20


@dataclass(frozen=True)
class RawRow:
    """One row of a file, or why it could not be read."""

    line: int  # 1-based
    row: dict[str, Any] | None
    error: str | None = None


def read_raw_rows(path: Path, loads: Callable[[str], Any] = json.loads) -> Iterator[RawRow]:
    """Stream the rows of a JSONL (.jsonl, .json, .gz) file; a bad line is yielded with its error.

    Memory is bounded by the longest line, at most 64 MiB; blank lines are passed over.

    Args:
        path: the file.
        loads: the JSON parser; :func:`fast_loads` suits whoever only reads numbers.

    Raises:
        UserError: the file does not exist or cannot be read.
    """
    try:
        with _open_bytes(path) as file:
            yield from _parse_lines(file, loads)
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path}: cannot be read: {reason}") from error


def read_rows(path: Path, loads: Callable[[str], Any] = json.loads) -> Iterator[tuple[int, dict[str, Any]]]:
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
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class AtomicWriter:
    """Writes lines beside ``path`` and puts the file in its place, whole, on :meth:`finish`.

    Used as a context manager: left by an exception, the part file is removed (``keep_part`` keeps it).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.part = path.with_name(path.name + ".part")
        self._file: IO[str] | None = None

    def __enter__(self) -> "AtomicWriter":
        try:
            self._file = self.part.open("w", encoding="utf-8", newline="\n", errors="surrogatepass")
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


def _open_bytes(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return io.BufferedReader(gzip.open(path, "rb"))  # type: ignore[arg-type]
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
        row = loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        return RawRow(number, None, f"not UTF-8 at byte {error.start} of the line")
    except json.JSONDecodeError as error:
        return RawRow(number, None, f"not JSON: {error.msg} at column {error.colno}")
    except RecursionError:
        return RawRow(number, None, "JSON nested too deeply")
    if not isinstance(row, dict):
        return RawRow(number, None, f"a row must be a JSON object, this is a {type(row).__name__}")
    return RawRow(number, row)
