"""The rewriting run from input to output: rows in, every row out exactly once, as a record or as a failed row."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from mindgap_data.engines import Engine
from mindgap_data.errors import UserError
from mindgap_data.rewrite.stages import NotRewritten, Plan, Rewritten, failed_row, rewrite_problem
from mindgap_data.rows.files import AtomicWriter, dumps
from mindgap_data.rows.formats import Fields, RowError, to_problem
from mindgap_data.rows.sources import Source
from mindgap_data.run.journal import Journal
from mindgap_data.run.keyindex import KeyIndex
from mindgap_data.run.progress import RunProgress
from mindgap_data.run.scheduler import (
    Attempt,
    Meter,
    Outcome,
    Scheduler,
    Steps,
    Task,
    decode_outcome,
    encode_outcome,
)
from mindgap_data.verify.pool import VerifierPool


@dataclass(frozen=True)
class OutputPaths:
    """The files of a run, all beside the output."""

    output: Path

    @property
    def failed(self) -> Path:
        """Rows that could not be rewritten, each with its reason."""
        return self.output.with_name(f"{self.output.name.removesuffix('.jsonl')}.failed.jsonl")

    @property
    def summary(self) -> Path:
        """The closing table as JSON."""
        return self.output.with_name(f"{self.output.name}.summary.json")

    @property
    def journal(self) -> Path:
        """What finished requests gave, while the run is unfinished."""
        return self.output.with_name(f"{self.output.name}.journal")

    def refuse_existing(self, overwrite: bool) -> None:
        """Raise UserError when a finished output would be replaced; an unfinished run is continued."""
        if self.output.exists() and not self.journal.exists() and not overwrite:
            raise UserError(f"{self.output}: the output exists; choose another with -o, or pass --overwrite")
        if not self.output.parent.is_dir():
            raise UserError(f"{self.output}: there is no folder {self.output.parent}; create it or choose another -o")


@dataclass
class Tally:
    """What became of the rows, for the closing table."""

    tiers: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    first_failure: str | None = None
    stages: dict[str, Counter[str]] = field(default_factory=dict)
    pass_rate_sum: float = 0.0
    pass_rate_rows: int = 0
    near_copies: int = 0
    saved_draws: int = 0

    def add(self, result: Rewritten | NotRewritten) -> str:
        """Count one row; returns its label."""
        if isinstance(result, NotRewritten):
            self.failed += 1
            self.first_failure = self.first_failure or f"line {result.row['line']}: {result.row['reason']}"
            return "failed"
        self.tiers[result.tier] += 1
        self.saved_draws += result.saved_draws
        attempts = result.row["attempts"]
        for stage in ("self", "guided"):
            if stage in attempts:
                self.stages.setdefault(stage, Counter()).update(attempts[stage])
        if attempts["pass_rate"] is not None:
            self.pass_rate_sum += attempts["pass_rate"]
            self.pass_rate_rows += 1
        self.near_copies += bool(attempts["near_copy"])
        return result.tier

    def summary(self, meter: Meter, seconds: float) -> dict[str, Any]:
        """The numbers of the closing table."""
        tokens_a_draw = meter.drawn_tokens / meter.draws if meter.draws else 0.0
        return {
            "rows": sum(self.tiers.values()) + self.failed,
            "rewritten": sum(self.tiers.values()),
            "failed": self.failed,
            "tiers": {tier: self.tiers[tier] for tier in ("self", "guided", "expert")},
            "pass_rate": self.pass_rate_sum / self.pass_rate_rows if self.pass_rate_rows else None,
            "stages": {stage: dict(counts) for stage, counts in self.stages.items()},
            "near_copies": self.near_copies,
            "draws": meter.draws,
            "drawn_tokens": meter.drawn_tokens,
            "scored_tokens": meter.scored_tokens,
            "draws_saved_by_early_stopping": self.saved_draws,
            "tokens_saved_by_early_stopping_estimate": round(self.saved_draws * tokens_a_draw),
            "requests_recalled": meter.recalled,
            "seconds": round(seconds, 2),
            "tokens_per_second": round(meter.fresh_tokens / seconds, 1) if seconds > 0 else None,
        }


@dataclass(frozen=True)
class RewriteRun:
    """Everything a run needs."""

    source: Source
    fields: Fields
    instruction: str | None
    limit: int | None
    plan: Plan
    engine: Engine
    verifier: VerifierPool
    paths: OutputPaths
    settings: dict[str, Any]  # what must not change between a run and its continuation
    quiet: bool = False

    def execute(self) -> dict[str, Any]:
        """Rewrite everything and put the files in place; returns the summary.

        Raises:
            UserError: input, engine, journal or disk failed, or no row could be rewritten.
        """
        began = time.monotonic()
        journal = Journal[Outcome](self.paths.journal, self.settings, encode_outcome, decode_outcome)
        scheduler = Scheduler[Rewritten | NotRewritten](self.engine, self.verifier, journal, keep=_correct_bodies)
        tally, seen = Tally(), KeyIndex()
        try:
            with (
                AtomicWriter(self.paths.output) as output,
                AtomicWriter(self.paths.failed) as failed,
                RunProgress("rewrite", self._total(), self.quiet) as progress,
            ):
                for result in scheduler.run(self._tasks(seen)):
                    (output if isinstance(result, Rewritten) else failed).write(result.row)
                    progress.row(tally.add(result), scheduler.meter)
                summary = tally.summary(scheduler.meter, time.monotonic() - began)
                self._finish(output, failed, summary)
        except BaseException:
            journal.close()
            raise
        finally:
            seen.close()
        journal.remove()
        if not summary["rewritten"]:
            raise UserError(
                f"{self.source.name}: no row could be rewritten ({tally.first_failure}); all are in {self.paths.failed}"
            )
        return summary

    def _finish(self, output: AtomicWriter, failed: AtomicWriter, summary: dict[str, Any]) -> None:
        if summary["failed"]:
            failed.finish()
        else:
            self.paths.failed.unlink(missing_ok=True)
        if not summary["rewritten"]:
            return
        with AtomicWriter(self.paths.summary) as file:
            file.write_text(dumps({**summary, "settings": self.settings}) + "\n")
            file.finish()
        output.finish()

    def _total(self) -> int | None:
        count = self.source.count()
        return count if self.limit is None else self.limit if count is None else min(count, self.limit)

    def _tasks(self, seen: KeyIndex) -> Iterator[Task[Rewritten | NotRewritten]]:
        for raw in islice(self.source.rows(), self.limit):
            if raw.row is None:
                yield Task(_failed(failed_row(raw.line, None, raw.error or "unreadable", None)))
                continue
            try:
                problem = to_problem(raw.row, self.fields, self.instruction)
            except RowError as error:
                yield Task(_failed(failed_row(raw.line, None, str(error), raw.row)))
                continue
            if not seen.add(problem.id, raw.line):
                reason = f"field id: {problem.id!r} stands already at {self.source.label(seen.get(problem.id) or 0)}"
                yield Task(_failed(failed_row(raw.line, problem.id, reason, raw.row)))
                continue
            row = {**problem.row, "verifier": problem.verifier} if problem.verifier else problem.row
            yield Task(rewrite_problem(problem, raw.line, self.plan), problem.answer, row)


def _failed(result: NotRewritten) -> Steps[Rewritten | NotRewritten]:
    """The procedure of a row that never gets to the engine."""
    yield from ()
    return result


def _correct_bodies(attempt: Attempt) -> Attempt:
    """Only a correct response can be chosen, so only its tokens are worth keeping."""
    return attempt if attempt.verdict == "correct" else attempt.without_body()
