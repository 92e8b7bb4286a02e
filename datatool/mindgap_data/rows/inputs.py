"""Which rows of a source a command takes, and how they are read."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any, Literal

from mindgap_data.rows.jsonl import RawRow
from mindgap_data.rows.problem import Problem, to_problem
from mindgap_data.rows.shapes import Fields, targets
from mindgap_data.rows.sources import Source
from mindgap_data.rows.values import Row, RowError

Turns = Literal["last", "all"]


@dataclass(frozen=True)
class InputRows:
    """The rows of a source that a command takes, and how they become problems."""

    source: Source
    fields: Fields
    instruction: str | None = None
    limit: int | None = None
    turns: Turns = "last"  # which assistant turns of a row are demonstrations
    needs_answer: bool = True  # whether a row without a reference answer is refused

    def read(self) -> Iterator[RawRow]:
        """The rows to take, once for every turn that is a demonstration."""
        for raw in islice(self.source.rows(), self.limit):
            count = 0 if self.turns == "last" or raw.row is None else _targets(raw.row, self.fields)
            # A row without such a turn is taken as it is: whoever reads it says what is wrong with it.
            yield from [replace(raw, turn=turn) for turn in range(1, count + 1)] or [raw]

    def problem(self, raw: RawRow) -> Problem:
        """The problem of one of these rows.

        Raises:
            RowError: it has none; the message says why.
        """
        if raw.row is None:
            raise RowError(raw.error or "unreadable")
        return to_problem(raw.row, self.fields, self.instruction, turn=raw.turn, needs_answer=self.needs_answer)

    def total(self) -> int | None:
        """How many they are, where that is known."""
        if self.turns == "all":
            return None
        count = self.source.count()
        return count if self.limit is None else self.limit if count is None else min(count, self.limit)

    def settings(self) -> dict[str, Any]:
        """What makes them the same rows in another run."""
        return {
            "input": self.source.fingerprint,
            "fields": asdict(self.fields),
            "instruction": self.instruction,
            "limit": self.limit,
            **({} if self.turns == "last" else {"turns": self.turns}),
        }

    def elsewhere(self) -> "InputRows":
        """The same for a machine that gets its rows one by one, and need not have the file."""
        return replace(self, source=_ReadElsewhere(self.source.name, self.source.fingerprint))


@dataclass(frozen=True)
class _ReadElsewhere:
    """A source that another machine reads."""

    name: str
    fingerprint: str

    def rows(self) -> Iterator[RawRow]:
        """None here."""
        return iter(())

    def label(self, line: int) -> str:
        """Where a row stands there."""
        return f"{self.name}:{line}"

    def count(self) -> int | None:
        """Not known here."""
        return None


def _targets(row: Row, fields: Fields) -> int:
    try:
        return targets(row, fields)
    except RowError:
        return 0
