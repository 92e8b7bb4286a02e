"""A .json file that is one array of rows, decoded a row at a time."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mindgap_data.errors import UserError
from mindgap_data.rows.jsonl import DECODER, MAX_ROW_BYTES, RawRow, raw_row

_SPACE = " \t\r\n"
_CHUNK = 1 << 16


def is_array(path: Path, file: io.BufferedReader) -> bool:
    """Whether a file is one JSON array: a .json file that begins with a bracket."""
    name = path.name.removesuffix(".gz")
    return name.endswith(".json") and file.peek(_CHUNK)[:_CHUNK].removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["


def parse_array(path: Path, file: IO[bytes]) -> Iterator[RawRow]:
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
            raise UserError(f"{self._path}:{self._line}: not JSON: expected {' or '.join(wanted)}, found {char!r}")
        self._drop(1)
        return char

    def take_row(self) -> RawRow:
        """Decode the next value."""
        self.next_char()
        while True:
            try:
                value, end = DECODER.raw_decode(self._text)
            except (ValueError, RecursionError) as error:
                # Perhaps cut off by the buffer's end: read as much again.
                if len(self._text) < MAX_ROW_BYTES and self._read_more(max(_CHUNK, len(self._text))):
                    continue
                reason = getattr(error, "msg", None) or str(error)
                raise UserError(f"{self._path}:{self._line}: not JSON: {reason}") from error
            if end < len(self._text) or not self._read_more(_CHUNK):
                row = raw_row(self._line, value)
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
