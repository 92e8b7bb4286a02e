"""Where rows come from: JSONL, a JSON array, parquet, a `datasets` folder or hub name; streamed, each row numbered."""

import difflib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from mindgap_data.errors import UserError, one_line
from mindgap_data.rows.elsewhere import local_input
from mindgap_data.rows.jsonl import RawRow
from mindgap_data.rows.parquet import count_parquet, is_parquet, numbered
from mindgap_data.rows.reading import read_raw_rows

_SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".parquet", ".ndjson", ".ndjson.gz")
_UNREAD = (".csv", ".tsv", ".txt", ".arrow", ".xlsx", ".zip", ".tar", ".zst", ".xz", ".bz2")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(:[\w.+-]+){0,2}")


class Source(Protocol):
    """A stream of rows that can be read more than once."""

    @property
    def name(self) -> str:
        """As the user gave it."""

    @property
    def fingerprint(self) -> str:
        """Hash of the content: the same when, and only when, the rows are."""

    def rows(self) -> Iterator[RawRow]:
        """The rows in order, numbered from 1. Raises UserError when it cannot be read or has no rows."""

    def label(self, line: int) -> str:
        """Where a row stands, for errors."""

    def count(self) -> int | None:
        """Rows there are, for a progress bar (blank lines included); None where telling takes a full parse."""


def open_source(name: str) -> Source:
    """The source a user names: a file, `-`, a folder saved by `datasets`, or a hub name.

    A folder or hub name may be followed by ``:split``, a hub name by ``:config:split``.

    Raises:
        UserError: there is no such thing, it is empty, or the package that reads it is missing.
    """
    path = local_input(name)
    if path.is_file():
        if path.suffix in _UNREAD:
            raise UserError(f"{name}: {path.suffix} files are not read; convert it to .jsonl, .jsonl.gz or .parquet")
        if path.stat().st_size == 0:
            raise UserError(f"{name}: the file is empty")
        return RowsFile(path)
    folder, _, split = name.partition(":")
    if Path(folder).is_dir():
        return _open_folder(name, folder, split)
    if path.name.endswith(_SUFFIXES) or not _HUB_NAME.fullmatch(name) or path.parent.is_dir():
        raise UserError(f"{name}: no such file{_suggestion(path)}")
    if find_spec("datasets") is None:
        raise UserError(f"{name}: no such file; to take it for a name on the Hugging Face hub: pip install datasets")
    return _open_hub(name)


@dataclass(frozen=True)
class RowsFile:
    """JSONL, a .json file that is one array, .gz of either, or parquet."""

    path: Path

    @property
    def name(self) -> str:
        """As the user gave it."""
        return str(self.path)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the file's bytes."""
        return self._scan[0]

    def rows(self) -> Iterator[RawRow]:
        """The rows, with the numbers of their lines, or of the rows in parquet."""
        return _not_empty(self.name, read_raw_rows(self.path))

    def label(self, line: int) -> str:
        """file:line."""
        return f"{self.path}:{line}"

    def count(self) -> int | None:
        """Lines of a plain JSONL file, rows of a parquet file."""
        if is_parquet(self.path):
            return count_parquet(self.path)
        return None if self.path.suffix in (".gz", ".json") else self._scan[1]

    @cached_property
    def _scan(self) -> tuple[str, int]:
        return _hash_and_lines(self.path)


@dataclass(frozen=True)
class DatasetRows:
    """A Hugging Face dataset: memory-mapped from a folder, or streamed from the hub."""

    name: str
    fingerprint: str
    dataset: Any  # datasets.Dataset or datasets.IterableDataset

    def rows(self) -> Iterator[RawRow]:
        """The rows, with their row numbers."""
        return _not_empty(self.name, numbered(self._values()))

    def label(self, line: int) -> str:
        """name:row."""
        return f"{self.name}:{line}"

    def count(self) -> int | None:
        """Rows of a folder; a streamed dataset does not tell."""
        return len(self.dataset) if hasattr(self.dataset, "__len__") else None

    def _values(self) -> Iterator[dict[str, Any]]:
        try:
            yield from self.dataset
        except Exception as error:
            raise UserError(f"{self.name}: cannot be read: {one_line(error)}") from error


def _open_folder(name: str, folder: str, split: str) -> DatasetRows:
    path = Path(folder)
    if not any((path / marker).is_file() for marker in ("dataset_info.json", "dataset_dict.json")):
        raise UserError(f"{name}: the folder was not saved by datasets (no dataset_info.json); name a file in it")
    if find_spec("datasets") is None:
        raise UserError(f"{name}: reading this folder needs datasets: pip install datasets")
    import datasets

    try:
        dataset = datasets.load_from_disk(folder)
    except Exception as error:
        raise UserError(f"{name}: cannot be read: {one_line(error)}") from error
    if isinstance(dataset, datasets.DatasetDict):
        chosen = split or (next(iter(dataset)) if len(dataset) == 1 else "")
        if chosen not in dataset:
            raise UserError(f"{name}: name one of its splits: {', '.join(f'{folder}:{key}' for key in dataset)}")
        dataset = dataset[chosen]
    elif split:
        raise UserError(f"{name}: {folder} has no splits; leave out :{split}")
    return DatasetRows(name, str(dataset._fingerprint), dataset)


def _open_hub(name: str) -> DatasetRows:
    import datasets
    from huggingface_hub import HfApi

    repository, *rest = name.split(":")
    config = rest[0] if len(rest) == 2 else None
    split = rest[-1] if rest else "train"
    try:
        # The commit is pinned, so that a resumed run reads the rows it began with or is refused.
        commit = HfApi().dataset_info(repository, timeout=20).sha
        dataset = datasets.load_dataset(repository, config, split=split, revision=commit, streaming=True)
    except Exception as error:
        raise UserError(
            f"{name}: no such file, and the Hugging Face hub does not give it: {one_line(error)}"
        ) from error
    return DatasetRows(name, f"{commit}:{config or 'default'}:{split}", dataset)


def _not_empty(name: str, rows: Iterator[RawRow]) -> Iterator[RawRow]:
    first = next(rows, None)
    if first is None:
        raise UserError(f"{name}: the file has no rows")
    yield first
    yield from rows


def _hash_and_lines(path: Path) -> tuple[str, int]:
    """sha256 of a file and the lines in it, in one pass."""
    digest, lines, last = hashlib.sha256(), 0, b"\n"
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
                lines += block.count(b"\n")
                last = block[-1:]
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    return f"sha256:{digest.hexdigest()}", lines + (last != b"\n")


def _suggestion(path: Path) -> str:
    """The nearest name in the folder the file was looked for in."""
    if not path.parent.is_dir():
        return f"; there is no folder {path.parent}"
    names = sorted(entry.name for entry in path.parent.iterdir() if entry.name.endswith(_SUFFIXES))
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean {path.parent / near[0]}?" if near else ""
