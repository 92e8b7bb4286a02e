"""Reads a rewritten file as records, every row checked against the record's model."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mindgap_data.errors import UserError
from mindgap_data.record import Record
from mindgap_data.rows.reading import read_rows


def read_records(path: Path) -> Iterator[tuple[int, Record]]:
    """Stream (line, record) of a rewritten file.

    Raises:
        UserError: at the first row that is not a valid record, saying what to do about it.
    """
    for line, row in read_rows(path):
        try:
            yield line, Record.from_row(row)
        except ValueError as error:
            raise UserError(f"{path}:{line}: {_remedy(path, row, str(error))}") from None


def _remedy(path: Path, row: Mapping[str, Any], error: str) -> str:
    if not row.get("policy_logprobs"):
        return (
            "the row has no policy_logprobs; make the file with `mindgap-data rewrite`, or add them with "
            "`mindgap-data score`"
        )
    if "schema_version" in error:
        return f"{error}; update mindgap, or rewrite the file"
    return f"{error}; `mindgap-data validate {path}` lists every such row"
