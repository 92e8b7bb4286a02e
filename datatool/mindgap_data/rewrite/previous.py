"""The round before: its rewritten file, which of its responses the moved policy keeps, what a row remembers of it."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mindgap_data import __version__
from mindgap_data.errors import UserError, one_line
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.record import Provenance, Record, Round
from mindgap_data.rewrite.records import scored_by
from mindgap_data.rows.inputs import InputRows
from mindgap_data.rows.problem import Problem
from mindgap_data.rows.records import read_records
from mindgap_data.rows.sources import open_source
from mindgap_data.rows.values import RowError

# At this ratio C log-normal token weights have ESS/N = 1/C^2 = 0.64, far above the 0.3 at which training warns.
KEEP_WITHIN = 1.25


@dataclass(frozen=True)
class PreviousRound:
    """A rewritten file of the same input, by an earlier policy."""

    path: Path
    fingerprint: str  # of its content
    round: int  # of its rows
    tokenizer: str  # fingerprint that its ids are of
    chat_template: str

    def records(self) -> "RecordsInOrder":
        """Its records, from the first."""
        return RecordsInOrder(self.path)

    def refuse_other_tokenizer(self, tokenizer: ChatTokenizer) -> None:
        """Raise UserError where ``tokenizer`` gives other ids or prompts."""
        for name, ours in (("tokenizer", tokenizer.fingerprint), ("chat_template", tokenizer.template)):
            if (theirs := getattr(self, name)) != ours:
                raise UserError(
                    f"{self.path}: provenance.{name} is {theirs}, this model's is {ours}: ids or prompts differ; "
                    "use the model of the round before, or leave out --previous"
                )


class RecordsInOrder:
    """Gives the record of one problem after the other: `rewrite` keeps the order of its input."""

    def __init__(self, path: Path) -> None:
        self._records = read_records(path)
        self.next: tuple[int, Record] | None = next(self._records)  # with its line

    def take(self, key: str) -> Record | None:
        """The record with this id; None where that row failed."""
        if self.next is None or self.next[1].id != key:
            return None
        record = self.next[1]
        self.next = next(self._records, None)
        return record


def read_previous(path: Path, rows: InputRows) -> PreviousRound:
    """The round before, checked row by row against the input that is rewritten again.

    Raises:
        UserError: it is not a rewritten file, or not one of this input.
    """
    fingerprint = open_source(os.fspath(path)).fingerprint
    first_line, first = next(read_records(path))
    records = RecordsInOrder(path)
    round_ = 0
    for problem in _problems(rows):
        if records.next is None:
            break
        line = records.next[0]
        record = records.take(problem.id)
        if record is None:
            continue
        if _asks_otherwise(record, problem):
            raise UserError(
                f"{path}:{line}: row {one_line(record.id, 40)!r} has another prompt or answer than in "
                f"{rows.source.name}; give the input and the --instruction of the round before"
            )
        for name in ("tokenizer", "chat_template"):
            if getattr(record.provenance, name) != getattr(first.provenance, name):
                raise UserError(f"{path}:{line}: provenance.{name} is another than in line {first_line}")
        round_ = max(round_, record.provenance.round)
    if records.next is not None:
        line, record = records.next
        raise UserError(
            f"{path}:{line}: row {one_line(record.id, 40)!r} is not in {rows.source.name}, or not in this order; "
            "give the input and the --limit of the round before"
        )
    return PreviousRound(path, fingerprint, round_, first.provenance.tokenizer, first.provenance.chat_template)


def drift_ratio(policy: Sequence[float], behavior: Sequence[float]) -> float:
    """exp(mean_t(log pi(y_t) - log mu(y_t))): the importance weight of a response at the geometric level.

    Args:
        policy: log-probs under the policy as it is now, plain prompt, nats [T].
        behavior: log-probs when it was drawn, nats [T].
    """
    return float(np.exp(np.subtract(policy, behavior, dtype=np.float64).mean()))


def is_kept(ratio: float, keep_within: float) -> bool:
    """Whether a ratio lies in [1/C, C]."""
    return 1 / keep_within <= ratio <= keep_within


def kept_provenance(drawn: Provenance, run: Provenance) -> Provenance:
    """The provenance of a kept response: who drew it stays, whose policy_logprobs these are is new.

    Args:
        drawn: as recorded in the round before.
        run: what is the same for every row of this run.
    """
    return drawn.model_copy(
        update={
            "schema_version": run.schema_version,
            "tool_version": __version__,
            "round": run.round,
            "policy": scored_by(run),
            "drawn_in": drawn.round if drawn.drawn_in is None else drawn.drawn_in,
        }
    )


def after_round(provenance: Provenance, earlier: Record, ratio: float | None) -> Provenance:
    """``provenance`` with the earlier rounds of its row: those that ``earlier`` knew of, and ``earlier`` itself."""
    before = earlier.provenance
    last = Round(
        **scored_by(before).model_dump(exclude_unset=True),
        round=before.round,
        tier=earlier.tier,
        seed=before.seed,
        attempts=earlier.attempts,
        ratio=None if ratio is None else round(ratio, 6),
    )
    return provenance.model_copy(update={"rounds": [*(before.rounds or []), last]})


def _problems(rows: InputRows) -> Iterator[Problem]:
    """The problems of the rows that can be used; the others fail again."""
    for raw in rows.read():
        try:
            yield rows.problem(raw)
        except RowError:
            continue


def _asks_otherwise(record: Record, problem: Problem) -> bool:
    # Without nulls, which a parquet file fills in and a problem's turns never have.
    prompt: list[dict[str, Any]] = [turn.model_dump(exclude_none=True) for turn in record.messages[:-1]]
    tools = record.tools if isinstance(record.tools, str) else None  # a list was shown to nobody
    asked = [dict(turn) for turn in problem.messages]
    return (prompt, tools, record.answer) != (asked, problem.tools, problem.answer)
