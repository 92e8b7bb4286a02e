"""Output files, whole or not at all: written beside their place and renamed into it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import jsonlines

from mindgap_data.errors import UserError
from mindgap_data.record import Decoder, Record, agreement_error
from mindgap_data.rows.jsonl import dumps
from mindgap_data.rows.values import RowError


class AtomicWriter:
    """Writes text beside ``path`` and puts the file in its place, whole, on :meth:`finish`.

    Used as a context manager: left without :meth:`finish`, the part file is removed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.part = path.with_name(path.name + ".part")
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        if self.path.exists() and not self.path.is_file():
            raise UserError(f"{self.path}: not a regular file; choose another output")
        try:
            self._file = self.part.open("w", encoding="utf-8", newline="\n")
        except OSError as error:
            raise UserError(f"{self.part}: cannot be written: {error.strerror}") from error
        return self

    def write_text(self, text: str) -> None:
        """Append text as it is."""
        with self._disk_errors(self.part):
            self._open.write(text)

    def finish(self) -> None:
        """Flush to disk and rename into place."""
        with self._disk_errors(self.path):
            self._open.flush()
            os.fsync(self._open.fileno())
            self._open.close()
            os.replace(self.part, self.path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None and not self._file.closed:
            with suppress(OSError):
                self._file.close()
        with suppress(OSError):
            self.part.unlink(missing_ok=True)

    @property
    def _open(self) -> IO[str]:
        assert self._file is not None, "used outside its with block"
        return self._file

    @contextmanager
    def _disk_errors(self, where: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"{where}: cannot be written: {error.strerror}; free some room and rerun") from error


class JsonlWriter(AtomicWriter):
    """Writes rows, each a line of JSON."""

    def __enter__(self) -> Self:
        super().__enter__()
        self._lines = jsonlines.Writer(self._open, dumps=dumps)
        return self

    def write(self, row: Any) -> None:
        """Append one row."""
        with self._disk_errors(self.part):
            self._lines.write(row)


class RecordWriter(AtomicWriter):
    """Writes records, and refuses one whose ids, log-probs and text do not agree."""

    def __init__(self, path: Path, decoder: Decoder | None = None) -> None:
        """Write to ``path``; with ``decoder``, ids must decode to the assistant's text, too."""
        super().__init__(path)
        self._decoder = decoder

    def write(self, record: Record) -> None:
        """Append one record.

        Raises:
            RowError: it contradicts itself; the file stays as it was.
        """
        if (fault := agreement_error(record, self._decoder)) is not None:
            raise RowError(f"ids, log-probs and text do not agree: {fault}")
        try:
            line = dumps(record.as_row())
        except (ValueError, RecursionError) as error:
            raise RowError(f"cannot be written as JSON: {error}") from error
        self.write_text(line + "\n")
