"""What a command gives the cluster to do, and how its rows travel: as lines of JSON there, as results back."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from mindgap_data.engines import Engine, EngineIdentity, Sampling
from mindgap_data.engines.open import Policy
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.rows.jsonl import dumps, loads
from mindgap_data.run.job import FailedRow, Finished, Job
from mindgap_data.run.outcomes import Meter
from mindgap_data.run.scheduler import Steps, Task
from mindgap_data.verify.pool import VerifierPool

T = TypeVar("T")


class ClusterJob(Job[T], Protocol[T]):
    """A job whose rows can be done one by one, on any machine."""

    def task(self, line: str) -> Task[Finished[T] | FailedRow]:
        """The task of a row as :meth:`Work.lines` gives it."""

    def encode(self, value: T) -> Any:
        """What a row became, as JSON."""

    def decode(self, value: Any) -> T:
        """The inverse of :meth:`encode`."""


class Work(Protocol[T]):
    """What is to be done; it is pickled, and must mean the same on every machine."""

    @property
    def policy(self) -> Policy:
        """The model, and the engine that runs it."""

    @property
    def sampling(self) -> Sampling:
        """Of every draw."""

    def lines(self) -> Iterator[str]:
        """The rows, each as a line of JSON, in the order of the output; on the driver alone."""

    def elsewhere(self) -> "Work[T]":
        """The same without what only the driver has."""

    def pool(self) -> AbstractContextManager[VerifierPool | None]:
        """What checks the draws."""

    def engine(self, quiet: bool) -> AbstractContextManager[Engine]:
        """The engine, open."""

    def tokenizer(self) -> ChatTokenizer:
        """The engine's, without the engine."""

    def job(self, engine: EngineIdentity) -> ClusterJob[T]:
        """The job, once the engine is known."""


@dataclass(frozen=True)
class KnownEngine:
    """An engine that another process has open."""

    name: str
    tokenizer: ChatTokenizer
    sampling: Sampling
    max_context: int
    revision: str | None
    dtype: str | None


@dataclass(frozen=True)
class Result(Generic[T]):
    """What a row became, and what it cost."""

    id: int  # its place in the table, from 1
    status: str  # "done" or "failed"
    value: str  # JSON: the finished row, or the failed one
    draws: int
    drawn_tokens: int
    scored_tokens: int

    @classmethod
    def of(cls, id: int, one: Finished[T] | FailedRow, job: ClusterJob[T], cost: Meter) -> "Result[T]":
        """The result of a row that has come to its end."""
        status, value = "failed", ""
        if isinstance(one, Finished):
            try:
                status, value = "done", dumps({"line": one.line, "value": job.encode(one.value), "row": one.row})
            except (ValueError, RecursionError) as error:
                one = FailedRow(
                    one.line, getattr(one.value, "id", None), f"cannot be written as JSON: {error}", one.row
                )
        if isinstance(one, FailedRow):
            value = failed_line(one)
        return cls(id, status, value, cost.draws, cost.drawn_tokens, cost.scored_tokens)

    def open(self, job: ClusterJob[T]) -> Finished[T] | FailedRow:
        """The row again."""
        value = loads(self.value)
        if self.status == "failed":
            return FailedRow(**value)
        return Finished(job.decode(value["value"]), value["line"], value["row"])

    def count(self, meter: Meter) -> None:
        """Add what the row cost."""
        meter.rows += 1
        meter.draws += self.draws
        meter.drawn_tokens += self.drawn_tokens
        meter.scored_tokens += self.scored_tokens


def failed_line(failed: FailedRow) -> str:
    """A failed row as a line of JSON."""
    try:
        return dumps(vars(failed))
    except (ValueError, RecursionError):
        return dumps(vars(failed.without_row()))


def counted(steps: Steps[T], cost: Meter) -> Steps[T]:
    """A row's procedure that counts in ``cost`` what its requests gave."""
    outcomes: Any = None
    while True:
        try:
            asked = steps.send(outcomes)
        except StopIteration as stop:
            done: T = stop.value
            return done
        outcomes = yield asked
        for outcome in outcomes:
            cost.count(outcome)
