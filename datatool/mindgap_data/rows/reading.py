"""Files of rows, streamed with their line numbers: JSONL or a JSON array, gzipped or not, and parquet."""

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mindgap_data.errors import UserError
from mindgap_data.rows.json_array import is_array, parse_array
from mindgap_data.rows.jsonl import RawRow, parse_lines
from mindgap_data.rows.parquet import is_parquet, read_parquet


def read_raw_rows(path: Path) -> Iterator[RawRow]:
    """Stream the rows of a JSONL (.jsonl, .json, .gz) or .parquet file; a bad line is yielded with its error.

    A .json file that is one array of rows is read as that, each row with the line it begins on; the rows of a
    parquet file are numbered.
    Memory is bounded by the longest row, at most 64 MiB; blank lines are passed over.

    Raises:
        UserError: the file does not exist or cannot be read, or an array breaks off.
    """
    try:
        if is_parquet(path):
            yield from read_parquet(path)
            return
        with _open_bytes(path) as file:
            yield from parse_array(path, file) if is_array(path, file) else parse_lines(file)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path}: cannot be read: {reason}") from error


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Stream (line number, row) of a file whose every line must be good.

    Raises:
        UserError: naming file:line of the first bad line, or that the file is empty.
    """
    empty = True
    for raw in read_raw_rows(path):
        empty = False
        if raw.row is None:
            raise UserError(f"{path}:{raw.line}: {raw.error}")
        yield raw.line, raw.row
    if empty:
        raise UserError(f"{path}: the file has no rows")


def _open_bytes(path: Path) -> io.BufferedReader:
    if path.suffix == ".gz":
        return io.BufferedReader(gzip.open(path, "rb"))
    return path.open("rb")
