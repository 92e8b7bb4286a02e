"""The job of one batch: some of a run's rows, drawn with the adapter of one of its steps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from mindgap_data.engines import Engine
from mindgap_data.errors import UserError
from mindgap_data.record import Record
from mindgap_data.refresh.folder import TrainingRun
from mindgap_data.rewrite.job import RewriteJob, RewriteRequest, read_problem
from mindgap_data.rows.inputs import InputRows
from mindgap_data.rows.problem import Problem
from mindgap_data.run.job import FailedRow, Finished
from mindgap_data.run.scheduler import Task


@dataclass(frozen=True)
class TrainedRow:
    """A row of the input that the run trains on."""

    line: int
    problem: Problem


def trained_rows(run: TrainingRun, rows: InputRows) -> dict[str, TrainedRow]:
    """The problems of a run's rows by id, in the order of the input.

    Raises:
        UserError: the input lacks some of them.
    """
    wanted, found = set(run.rows), dict[str, TrainedRow]()
    for raw in rows.read():
        problem = read_problem(raw, rows)
        if isinstance(problem, Problem) and problem.id in wanted:
            found.setdefault(problem.id, TrainedRow(raw.line, problem))
    if missing := [row for row in run.rows if row not in found]:
        raise UserError(
            f"{rows.source.name}: lacks {len(missing)} of the {len(run.rows)} rows that the run trains on, such as "
            f"{missing[0]!r}; give the file that the training data was rewritten from, with the same options"
        )
    return found


class RefreshJob(RewriteJob):
    """Rewrites chosen rows; each record says by which training step's adapter it was drawn."""

    name = "refresh"
    done = "drawn again"

    def __init__(self, request: RewriteRequest, engine: Engine, step: int, chosen: Sequence[TrainedRow]) -> None:
        """Draw ``chosen`` with the adapter of ``step``, which ``request`` names and ``engine`` uses."""
        super().__init__(request, engine)
        provenance = self.plan.provenance.model_copy(update={"training_step": step})
        self.plan = replace(self.plan, provenance=provenance)
        self.chosen = chosen

    @property
    def settings(self) -> Mapping[str, Any]:
        """What must not change between a batch and its continuation."""
        ids = "\n".join(row.problem.id for row in self.chosen)
        return {**super().settings, "rows": sha256(ids.encode("utf-8", "surrogatepass")).hexdigest()[:16]}

    def total(self) -> int:
        """Rows of the batch."""
        return len(self.chosen)

    def tasks(self) -> Iterator[Task[Finished[Record] | FailedRow]]:
        """A task a row."""
        for row in self.chosen:
            yield self._task(row.line, row.problem, None)
