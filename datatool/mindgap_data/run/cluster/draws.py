"""What replicas have drawn, on the shared folder: a replica that takes over another's rows recalls it."""

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from mindgap_data.run.journal import Journal
from mindgap_data.run.keyindex import KeyIndex
from mindgap_data.run.outcomes import Outcome, decode_outcome, encode_outcome


class SharedJournal(Journal[Outcome]):
    """A journal of this process's own, which recalls what any journal in its folder held when it was opened.

    No two processes write one file: on a network's file system their lines could tear each other.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Begin a journal in ``folder``."""
        self._files = [path.open("rb") for path in sorted(folder.glob("*.journal"))]
        self._keys = KeyIndex()
        self._places: list[tuple[int, int]] = []  # file and offset of a group, by what the index says of its keys
        for number, file in enumerate(self._files):
            self._index_file(number)
            file.seek(0)
        super().__init__(folder / f"{uuid.uuid4().hex}.journal", settings, encode_outcome, decode_outcome)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._keys.close()
        for file in self._files:
            file.close()

    def recall(self, key: str) -> Outcome | None:
        """What ``key`` gave in any of the earlier journals, or None."""
        found = self._keys.get(key)
        if found is None:
            return None
        number, offset = self._places[found]
        self._files[number].seek(offset)
        return decode_outcome(json.loads(self._files[number].readline())["group"][key])

    def _index_file(self, number: int) -> None:
        file, offset = self._files[number], 0
        while (line := file.readline()).endswith(b"\n"):  # a torn last line has none
            for key in json.loads(line).get("group", ()):
                self._keys.add(key, len(self._places))
            self._places.append((number, offset))
            offset += len(line)
