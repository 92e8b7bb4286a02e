"""Parquet files of rows: read a few rows at a time, and written so that every row comes back as it was.

A parquet column has one type and cannot tell an absent field from a null. What fits a type is written as that type;
what does not (a column of text here and numbers there, an integer beyond 64 bits) is written as JSON text. The file's
metadata say which is which, so that reading gives the rows back; to other readers absent fields are null.
"""

import base64
import datetime
import decimal
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mindgap_data.errors import UserError, one_line
from mindgap_data.rows.jsonl import RawRow, dumps, loads
from mindgap_data.rows.layout import Layout, Node, decoder, encode, node_type

_LAYOUT_KEY = b"mindgap"
# Rows of a parquet file decoded at a time.
_BATCH = 64
# Text of the rows of one row group, in bytes: what writing holds in memory, several times over.
_GROUP_BYTES = 8 << 20


def is_parquet(path: Path) -> bool:
    """Whether a file is parquet, by its name."""
    return path.suffix == ".parquet"


def require_pyarrow(path: Path) -> None:
    """Raise UserError where the package that reads and writes parquet is missing."""
    if find_spec("pyarrow") is None:
        raise UserError(f"{path}: parquet needs pyarrow: pip install 'mindgap[datasets]'")


def read_parquet(path: Path) -> Iterator[RawRow]:
    """Stream the rows, numbered from 1.

    Raises:
        UserError: the file is not parquet, or breaks off.
    """
    yield from numbered(_values(path))


def count_parquet(path: Path) -> int:
    """Rows of the file, from its footer."""
    return int(_open(path).metadata.num_rows)


def write_parquet(lines: Path, path: Path) -> None:
    """Write the rows of a JSONL file as parquet.

    It is read twice: once for the columns' types, once for the rows.

    Raises:
        OSError: the disk is full.
        ValueError: parquet cannot hold them: no row has a column, or a column's name is no UTF-8.
    """
    import pyarrow
    import pyarrow.parquet

    layout = Layout()
    for row, _ in _lines(lines):
        layout.add(row)
    root = layout.root()
    if lines.stat().st_size and not root.children:
        raise ValueError("no row has a column")
    schema = pyarrow.schema(
        [(name, node_type(child)) for name, child in root.children.items()],
        metadata={_LAYOUT_KEY: dumps(root.as_json())},
    )
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in _groups(_lines(lines)):
            writer.write_table(pyarrow.Table.from_pylist([encode(root, row) for row in group], schema=schema))


def numbered(values: Iterable[Mapping[str, Any]]) -> Iterator[RawRow]:
    """Rows of Arrow values, numbered from 1; one that JSON cannot hold is yielded with its fault."""
    for number, value in enumerate(values, start=1):
        try:
            yield RawRow(number, {str(key): _as_json(item) for key, item in value.items()})
        except TypeError as error:
            yield RawRow(number, None, str(error))


def _values(path: Path) -> Iterator[dict[str, Any]]:
    from pyarrow import ArrowException

    file = _open(path)
    decode = _decoder(file.schema_arrow.metadata)
    try:
        for batch in file.iter_batches(batch_size=_BATCH):
            yield from map(decode, batch.to_pylist())
    except (OSError, ValueError, ArrowException) as error:
        raise UserError(f"{path}: cannot be read as parquet: {one_line(error)}") from error


def _decoder(metadata: Mapping[bytes, bytes] | None) -> Callable[[Any], Any]:
    written = (metadata or {}).get(_LAYOUT_KEY)
    return (written and decoder(Node.from_json(loads(written)))) or (lambda row: row)


def _open(path: Path) -> Any:
    require_pyarrow(path)
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path, pre_buffer=False)
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"{path}: cannot be read as parquet: {one_line(error)}") from error


def _lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """(row, bytes of its text) of a JSONL file of our own."""
    with path.open("rb") as file:
        for line in file:
            yield loads(line), len(line)


def _groups(lines: Iterable[tuple[dict[str, Any], int]]) -> Iterator[list[dict[str, Any]]]:
    group, size = [], 0
    for row, length in lines:
        group.append(row)
        size += length
        if size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _as_json(value: Any) -> Any:
    """A column's value as JSON can hold it: NaN as null, times in ISO format, bytes in base64, decimals as text."""
    if value is None or isinstance(value, (str, int, bool)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(item) for item in value]
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, (decimal.Decimal, datetime.timedelta)):
        return str(value)
    raise TypeError(f"a column holds {type(value).__name__}, which JSON cannot hold; drop the column")
