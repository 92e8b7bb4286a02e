"""The append-only journal beside an output: what every finished request gave, so that a rerun continues."""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from mindgap_data.errors import UserError
from mindgap_data.rows.jsonl import dumps
from mindgap_data.run.keyindex import KeyIndex

Outcome = TypeVar("Outcome")


class Journal(Generic[Outcome]):
    """A header line with the run's settings, then a line per group of requests that finished together.

    A group is one line, so it is there whole or not at all: a torn last line is cut off on opening.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        encode: Callable[[Outcome], Any],
        decode: Callable[[Any], Outcome],
        restart: bool = False,
    ) -> None:
        """Open ``path`` to continue it, or begin it.

        Args:
            path: the journal's file.
            settings: flat JSON values that must be the same for results to be reusable.
            encode: an outcome as JSON.
            decode: its inverse.
            restart: forget what it holds.

        Raises:
            UserError: a setting differs (each is named), another run holds it, or it cannot be written.
        """
        self.path = path
        self._encode, self._decode = encode, decode
        self._index: KeyIndex | None = None
        self._synced = time.monotonic()
        try:
            # Unbuffered: what a failed write left in a buffer would be written later, or fail again on closing.
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise UserError(f"{path}: the journal cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"{path}: another run is writing this output; wait for it or choose another -o") from error
        if restart:
            self._file.truncate(0)  # only now that the lock is ours
        self._read_group = lru_cache(maxsize=64)(self._read_group_at)
        try:
            if not self._resume(settings):
                self._append({"journal": 1, "settings": dict(settings)})
        except BaseException:
            self.close()  # and with it the lock
            raise

    def __enter__(self) -> "Journal[Outcome]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def recall(self, key: str) -> Outcome | None:
        """What ``key`` gave in an earlier run, or None."""
        if self._index is None:
            return None
        offset = self._index.get(key)
        return None if offset is None else self._decode(self._read_group(offset)[key])

    def record(self, group: Mapping[str, Outcome]) -> None:
        """Append what a group of requests gave, as one line."""
        self._append({"group": {key: self._encode(outcome) for key, outcome in group.items()}})

    def close(self) -> None:
        """Close the file; the journal stays for a rerun."""
        self._file.close()
        self._reader.close()
        if self._index is not None:
            self._index.close()

    def remove(self) -> None:
        """Close it and delete it: the output is whole."""
        self.path.unlink(missing_ok=True)
        self.close()

    def _append(self, line: Any) -> None:
        try:
            data = dumps(line).encode("utf-8", "surrogatepass") + b"\n"
            while data:
                data = data[self._file.write(data) or 0 :]
            # A power cut may cost the last second; a killed process costs nothing.
            if time.monotonic() - self._synced > 1.0:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise UserError(
                f"{self.path}: the journal cannot be written: {error.strerror}; "
                "free some room and run the same command again"
            ) from error

    def _resume(self, settings: Mapping[str, Any]) -> bool:
        """Index what is there; False when there is nothing."""
        header = None
        for offset, line in self._whole_lines():
            if header is None:
                header = _settings(line)
                if header is None:
                    raise UserError(f"{self.path}: this is not a mindgap journal; move it away or choose another -o")
                refuse_changes(self.path, header, json.loads(dumps(dict(settings))))
                self._index = KeyIndex()
                continue
            assert self._index is not None
            for key in json.loads(line)["group"]:
                self._index.add(key, offset)
        return header is not None

    def _whole_lines(self) -> Iterator[tuple[int, bytes]]:
        """Every whole line with its offset; a torn tail is cut off the file."""
        self._reader = self.path.open("rb")
        offset = 0
        while line := self._reader.readline():
            if not line.endswith(b"\n"):
                self._file.truncate(offset)
                break
            yield offset, line
            offset += len(line)

    def _read_group_at(self, offset: int) -> dict[str, Any]:
        self._reader.seek(offset)
        group: dict[str, Any] = json.loads(self._reader.readline())["group"]
        return group


def _settings(line: bytes) -> dict[str, Any] | None:
    try:
        header = json.loads(line)
        return dict(header["settings"]) if header["journal"] == 1 else None
    except (ValueError, KeyError, TypeError):
        return None


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The names of the settings that are not the same in both."""
    return [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]


def changed_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Every setting that has changed, as "X was A, now B"; empty where none has."""
    return "; ".join(f"{name} was {dumps(old.get(name))}, now {dumps(new.get(name))}" for name in differing(old, new))


def refuse_changes(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raise UserError where the settings of an unfinished run, which ``path`` remembers, are not the new ones."""
    if changed := changed_settings(old, new):
        raise UserError(
            f"{path}: an unfinished run with other settings ({changed}); "
            "repeat its settings to continue it, choose another -o, or delete it with --restart"
        )
