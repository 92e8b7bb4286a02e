"""Output files, whole or not at all: written beside their place and renamed into it."""

import gzip
import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import jsonlines

from mindgap_data.agreement import Decoder
from mindgap_data.errors import UserError
from mindgap_data.record import Record, agreement_error
from mindgap_data.rows.elsewhere import deliver
from mindgap_data.rows.jsonl import dumps
from mindgap_data.rows.parquet import is_parquet, require_pyarrow, write_parquet
from mindgap_data.rows.values import RowError


class AtomicWriter:
    """Writes text beside ``path`` and puts the file in its place, whole, on :meth:`finish`.

    Used as a context manager: left without :meth:`finish`, the part file is removed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = Path(path)  # itself, or the local file that stands in for it
        self.part = self._local.with_name(path.name + ".part")
        self._files = ExitStack()
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        refuse_device(self.path)
        try:
            self._file = self._open_part()
        except OSError as error:
            raise UserError(f"{self.part}: cannot be written: {error.strerror}") from error
        return self

    def write_text(self, text: str) -> None:
        """Append text as it is."""
        with self._disk_errors(self.part):
            self._open.write(text)

    def finish(self) -> None:
        """Flush to disk and rename into place; what belongs elsewhere is brought there."""
        with self._disk_errors(self._local):
            self._files.close()
            self._convert()
            with self.part.open("rb") as whole:
                os.fsync(whole.fileno())
            os.replace(self.part, self._local)
        deliver(self.path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._files.close()
        with suppress(OSError):
            self.part.unlink(missing_ok=True)

    def _open_part(self) -> IO[str]:
        return self._files.enter_context(self.part.open("w", encoding="utf-8", newline="\n"))

    def _convert(self) -> None:
        """Make the part file, whole now, what ``path`` is to be."""

    @property
    def _open(self) -> IO[str]:
        assert self._file is not None, "used outside its with block"
        return self._file

    @contextmanager
    def _disk_errors(self, where: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"{where}: cannot be written: {error.strerror or error}; free some room and rerun"
            ) from error


def refuse_device(path: Path) -> None:
    """Raise UserError where something other than a file stands in an output's place."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: not a regular file; choose another output")


class RowsWriter(AtomicWriter):
    """Writes lines of JSON in the format the name asks for: .gz, .parquet, otherwise JSONL."""

    def __enter__(self) -> Self:
        if is_parquet(self.path):
            require_pyarrow(self.path)
        return super().__enter__()

    def _open_part(self) -> IO[str]:
        if self.path.suffix != ".gz":
            return super()._open_part()
        file = self._files.enter_context(self.part.open("wb"))
        # No name and no time: the same rows give the same bytes.
        packed = self._files.enter_context(gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0))
        return self._files.enter_context(io.TextIOWrapper(packed, encoding="utf-8", newline="\n"))

    def _convert(self) -> None:
        if not is_parquet(self.path):
            return
        table = self.part.with_name(f"{self.path.name}.table.part")
        try:
            write_parquet(self.part, table)
            os.replace(table, self.part)
        except ValueError as error:
            raise UserError(f"{self.path}: cannot be written as parquet: {error}; choose a .jsonl output") from error
        finally:
            table.unlink(missing_ok=True)


class JsonlWriter(RowsWriter):
    """Writes rows of any kind."""

    def __enter__(self) -> Self:
        super().__enter__()
        self._lines = jsonlines.Writer(self._open, dumps=dumps)
        return self

    def write(self, row: Any) -> None:
        """Append one row."""
        with self._disk_errors(self.part):
            self._lines.write(row)


class RecordWriter(RowsWriter):
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
