"""The life of a run: signals, the lock, the journal, the output files, progress. A job supplies tasks and a tally."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from mindgap_data.engines import Engine
from mindgap_data.errors import UserError
from mindgap_data.rows.values import RowError
from mindgap_data.rows.writing import AtomicWriter, JsonlWriter
from mindgap_data.run.journal import Journal
from mindgap_data.run.outcomes import Attempt, Meter, Outcome, decode_outcome, encode_outcome
from mindgap_data.run.progress import RunProgress
from mindgap_data.run.scheduler import Scheduler, Steps, Task
from mindgap_data.verify.pool import VerifierPool

T = TypeVar("T")
Row = TypeVar("Row", contravariant=True)


@dataclass(frozen=True)
class RunFiles:
    """The files of a run."""

    output: Path
    failed: Path  # rows that came to nothing, each with its reason
    summary: Path  # settings and figures; there when the run is finished
    journal: Path  # what finished requests gave, while the run is unfinished
    cluster: Path  # the folder of a run on a cluster, while it is unfinished

    @classmethod
    def beside(cls, output: Path) -> "RunFiles":
        """Files named after ``output``, in its folder."""
        local = Path(output)  # what a rerun needs stays on this machine, wherever the output goes
        return cls(
            output,
            failed=output.with_name(f"{output.name.removesuffix('.jsonl')}.failed.jsonl"),
            summary=output.with_name(f"{output.name}.summary.json"),
            journal=local.with_name(f"{output.name}.journal"),
            cluster=local.with_name(f"{output.name}.ray"),
        )

    def refuse_existing(self, overwrite: bool) -> None:
        """Raise UserError when a finished output would be replaced; an unfinished run is continued."""
        unfinished = self.journal.exists() or self.cluster.exists()
        if self.output.exists() and not unfinished and not overwrite:
            raise UserError(f"{self.output}: the output exists; choose another with -o, or pass --overwrite")
        if not self.output.parent.is_dir():
            raise UserError(f"{self.output}: there is no folder {self.output.parent}; create it or choose another -o")


@dataclass(frozen=True)
class RunOptions:
    """How a command asked for a run."""

    files: RunFiles
    restart: bool = False  # forget an unfinished run
    quiet: bool = False


@dataclass(frozen=True)
class Finished(Generic[T]):
    """A row for the output, and where it came from."""

    value: T
    line: int
    row: Any  # of the input


@dataclass(frozen=True)
class FailedRow:
    """A row of the failed file."""

    line: int
    id: Any
    reason: str
    row: Any  # of the input

    def without_row(self) -> "FailedRow":
        """The same for a row that JSON cannot hold."""
        return replace(self, reason=f"{self.reason} (the row is nested too deeply to be kept)", row=None)


class Writer(Protocol[Row]):
    """Where finished rows go; raises RowError for one it refuses."""

    def write(self, value: Row, /) -> None:
        """Append one."""

    def finish(self) -> None:
        """Put the file in place."""


class Job(Protocol[T]):
    """What a run does: its tasks, and a tally of their results."""

    @property
    def name(self) -> str:
        """What the progress line begins with: "rewrite"."""

    @property
    def done(self) -> str:
        """What becomes of a row: "rewritten"."""

    @property
    def source(self) -> str:
        """What the rows come from, for errors."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What must not change between a run and its continuation; JSON values."""

    def total(self) -> int | None:
        """Rows to come, where that is known."""

    def tasks(self) -> Iterator[Task[Finished[T] | FailedRow]]:
        """One task a row, in the order of the output."""

    def keep(self, attempt: Attempt) -> Attempt:
        """What of a checked draw the job will look at; the rest is not journalled."""

    def writer(self, path: Path) -> AbstractContextManager[Writer[T]]:
        """The output file."""

    def add(self, value: T) -> str:
        """Count a row that was written; returns its label for the progress line."""

    def summary(self, result: "RunResult") -> str | None:
        """The text of the summary file, or None for no such file."""


@dataclass
class RunResult:
    """What became of a run."""

    meter: Meter
    written: int = 0
    failed: int = 0
    first_failure: str = ""
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    replicas: Sequence[Mapping[str, Any]] = ()  # what each did, where a cluster ran it


def execute(job: Job[T], engine: Engine, verifier: VerifierPool | None, options: RunOptions) -> RunResult:
    """Run a job to its end and put its files in place.

    Raises:
        UserError: input, engine, journal or disk failed (what was drawn is kept for a rerun), or every row failed.
        SystemExit: 130, where the user or SIGTERM stopped it; the journal stays.
    """
    files = options.files
    if files.cluster.exists() and not options.restart:
        raise UserError(
            f"{files.cluster}: an unfinished run on a Ray cluster; continue it with --ray, or forget it with --restart"
        )
    with stoppable(files.output), _journal(job, options) as journal:
        scheduler = Scheduler[Finished[T] | FailedRow](engine, verifier, journal, keep=job.keep)
        result = RunResult(scheduler.meter)
        with RunProgress(job.name, job.total(), scheduler.meter, options.quiet) as progress:
            write_results(scheduler.run(job.tasks()), job, result, files, progress.row)
        journal.remove()
    refuse_nothing_written(job, result, files)
    return result


def write_results(
    results: Iterable[Finished[T] | FailedRow],
    job: Job[T],
    result: RunResult,
    files: RunFiles,
    tell: Callable[[str], None] = lambda label: None,
) -> None:
    """Write the results of a job, which are in order, and put its files in place; ``tell`` gets each row's label."""
    with job.writer(files.output) as output, JsonlWriter(files.failed) as failed:
        for one in results:
            tell(_write(one, job, output, failed, result))
        result.seconds = time.monotonic() - result.began
        _finish(job, output, failed, result, files)


def refuse_nothing_written(job: Job[T], result: RunResult, files: RunFiles) -> None:
    """Raise UserError where every row failed."""
    if result.failed and not result.written:
        raise UserError(f"{job.source}: no row could be {job.done} ({result.first_failure}); all are in {files.failed}")


def per_row(steps: Callable[[], Steps[T]], line: int, row_id: Any, row: Any) -> Steps[Finished[T] | FailedRow]:
    """A row's procedure, made safe: what the row itself is to blame for ends in a FailedRow."""
    try:
        return Finished((yield from steps()), line, row)
    except (RowError, UserError) as error:
        return FailedRow(line, row_id, str(error), row)


def _write(one: Finished[T] | FailedRow, job: Job[T], output: Writer[T], failed: JsonlWriter, result: RunResult) -> str:
    """Write one result where it belongs; returns its label."""
    if isinstance(one, Finished):
        try:
            output.write(one.value)
        except RowError as error:
            one = FailedRow(one.line, getattr(one.value, "id", None), str(error), one.row)
        else:
            result.written += 1
            return job.add(one.value)
    _write_failed(one, failed)
    result.failed += 1
    result.first_failure = result.first_failure or f"line {one.line}: {one.reason}"
    return "failed"


def _write_failed(one: FailedRow, failed: JsonlWriter) -> None:
    try:
        failed.write(vars(one))
    except (ValueError, RecursionError):
        failed.write(vars(one.without_row()))


def _finish(job: Job[T], output: Writer[T], failed: JsonlWriter, result: RunResult, files: RunFiles) -> None:
    if result.failed:
        failed.finish()
    else:
        files.failed.unlink(missing_ok=True)
    if result.failed and not result.written:
        return
    output.finish()
    if (text := job.summary(result)) is not None:
        with AtomicWriter(files.summary) as file:
            file.write_text(text)
            file.finish()


def _journal(job: Job[T], options: RunOptions) -> Journal[Outcome]:
    return Journal(options.files.journal, job.settings, encode_outcome, decode_outcome, restart=options.restart)


@contextmanager
def stoppable(output: Path) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run in one line, and nothing is lost."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        print(f"\nStopped; nothing is lost. Run the same command again to continue {output}", file=sys.stderr)
        sys.exit(130)
