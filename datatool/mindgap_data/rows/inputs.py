"""Which rows of a source a command takes, and how they are read."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from mindgap_data.rows.jsonl import RawRow
from mindgap_data.rows.shapes import Fields
from mindgap_data.rows.sources import Source


@dataclass(frozen=True)
class InputRows:
    """The rows of a source that a command takes, and how they become problems."""

    source: Source
    fields: Fields
    instruction: str | None = None
    limit: int | None = None

    def read(self) -> Iterator[RawRow]:
        """The rows to take."""
        return islice(self.source.rows(), self.limit)

    def total(self) -> int | None:
        """How many they are, where that is known."""
        count = self.source.count()
        return count if self.limit is None else self.limit if count is None else min(count, self.limit)

    def settings(self) -> dict[str, Any]:
        """What makes them the same rows in another run."""
        return {
            "input": self.source.fingerprint,
            "fields": asdict(self.fields),
            "instruction": self.instruction,
            "limit": self.limit,
        }
