"""The failed rows of a finished rewriting run drawn again, in their places among the rows it has."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mindgap_data.engines import Engine
from mindgap_data.errors import UserError
from mindgap_data.record import Record
from mindgap_data.rewrite.job import RewriteJob, RewriteRequest, RewriteSummary
from mindgap_data.rewrite.previous import RecordsInOrder
from mindgap_data.rows.jsonl import dumps, loads
from mindgap_data.rows.problem import Problem
from mindgap_data.run.job import FailedRow, Finished, RunFiles, RunResult
from mindgap_data.run.journal import changed_settings
from mindgap_data.run.scheduler import Steps, Task

# Figures of the work done, which a retry adds to; the others are of the rows, and counted afresh.
_ADDED = ("draws", "drawn_tokens", "scored_tokens", "requests_recalled", "draws_begun_ahead", "tokens_begun_ahead")


@dataclass(frozen=True)
class FinishedRun:
    """What the summary of a finished run says."""

    path: Path  # of the summary
    settings: Mapping[str, Any]
    figures: Mapping[str, Any]
    retries: int  # finished before


def read_finished(files: RunFiles) -> FinishedRun:
    """The run that wrote these files.

    Raises:
        UserError: there is none, or it has no summary.
    """
    if not files.output.exists():
        raise UserError(f"{files.output}: there is no such output; make it with `mindgap-data rewrite`")
    try:
        figures = loads(files.summary.read_bytes())
        settings, retries = dict(figures["settings"]), int(figures.get("retries", 0))
        missing = [name for name in (*_ADDED, "failed", "seconds") if name not in figures]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{files.summary}: not the summary of a finished `mindgap-data rewrite`") from error
    if missing:
        raise UserError(f"{files.summary}: has no {', '.join(missing)}: only a run of one piece can be retried")
    return FinishedRun(files.summary, settings, figures, retries)


class RetryJob(RewriteJob):
    """The rewriting job of a run once more: rows that its output holds are kept, the others are drawn again.

    The n-th retry draws with the run's seed + n: the same seed would draw the same responses.
    """

    name = "retry"

    def __init__(self, request: RewriteRequest, engine: Engine, run: FinishedRun, output: Path) -> None:
        """Retry what ``run`` left, whose rows are in ``output``.

        Raises:
            UserError: the request is not the run's; every setting that differs is named.
        """
        asked = json.loads(dumps(dict(RewriteJob(request, engine).settings)))
        if changed := changed_settings(run.settings, asked):
            raise UserError(f"{run.path}: the run had other settings ({changed}); repeat its options, and its input")
        self.run, self.number = run, run.retries + 1
        super().__init__(
            replace(request, options=replace(request.options, seed=request.options.seed + self.number)), engine
        )
        self._records = RecordsInOrder(output)
        self._output = output

    @property
    def settings(self) -> Mapping[str, Any]:
        """What must not change between a retry and its continuation."""
        return {**super().settings, "retry": self.number}

    def tasks(self) -> Iterator[Task[Finished[Record] | FailedRow]]:
        """A task a row of the input; for a row that the output holds it ends at once."""
        yield from super().tasks()
        if self._records.next is not None:
            raise UserError(
                f"{self._output}: row {self._records.next[1].id!r} is not in the input, or not in its order; "
                "retry needs the file as `mindgap-data rewrite` wrote it"
            )

    def _task(
        self, line: int, found: Problem | FailedRow, earlier: Record | None
    ) -> Task[Finished[Record] | FailedRow]:
        if isinstance(found, Problem) and (record := self._records.take(found.id)) is not None:
            return Task(_kept(Finished(record, line, found.row)))
        return super()._task(line, found, earlier)

    def figures(self, result: RunResult) -> RewriteSummary:
        """The numbers of the closing table; draws and tokens are the run's and the retry's together."""
        figures = super().figures(result)
        before = self.run.figures
        sums = {name: getattr(figures, name) + before[name] for name in _ADDED}
        return replace(figures, **sums, seconds=round(figures.seconds + before["seconds"], 2))

    def summary(self, result: RunResult) -> str:
        """The figures, the run's own settings, and how often its failed rows have been retried."""
        return dumps({**asdict(self.figures(result)), "settings": self.run.settings, "retries": self.number}) + "\n"


def _kept(row: Finished[Record]) -> Steps[Finished[Record]]:
    """The procedure of a row that is there already."""
    yield from ()
    return row
