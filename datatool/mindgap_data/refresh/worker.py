"""The worker beside a training run: draws the run's rows again with its newest adapter, batch after batch."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from mindgap_data.engines import Engine, ExchangesAdapters
from mindgap_data.engines.open import Policy, running_engine
from mindgap_data.errors import AdapterError, UserError
from mindgap_data.policy.adapters import refuse_broken_adapter
from mindgap_data.policy.models import load_tokenizer, same_model
from mindgap_data.refresh.folder import Batch, RefreshFolder, TrainingRun
from mindgap_data.refresh.job import RefreshJob, TrainedRow, trained_rows
from mindgap_data.refresh.pacing import next_rows, note_tried
from mindgap_data.rewrite.job import RewriteRequest
from mindgap_data.run.job import RunFiles, RunOptions, execute, stoppable
from mindgap_data.verify.pool import VerifierPool

POLL_SECONDS = 0.5
ROWS_PER_SLOT = 4  # of a batch: at its end slots are empty, so it should be several times as long as they are many


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker goes about it."""

    batch_rows: int | None = None  # rows published together; None: ROWS_PER_SLOT for each slot of the engine
    patience: float | None = None  # seconds to wait for a new adapter; None: for ever
    restart: bool = False  # forget the batch that a stopped worker left half-way
    quiet: bool = False


class Worker:
    """Works on one folder until its training run is over.

    Where it stands follows from the folder alone: what is published has been drawn, and the row that was not tried
    for longest is next.
    """

    def __init__(
        self, folder: RefreshFolder, request: RewriteRequest, options: WorkerOptions, say: Callable[[str], None]
    ) -> None:
        """Prepare.

        Args:
            folder: shared with the run.
            request: how its rows are rewritten; the adapter in it is replaced.
            options: see there.
            say: takes one line for each batch, and for what goes wrong.
        """
        self.folder, self.request, self.options, self._say = folder, request, options, say
        self._engine: Engine | None = None
        self._step: int | None = None  # of the adapter that the engine uses
        self._tried: dict[str, int] = {}

    def work(self) -> int:
        """Draw batches until the run is over; returns how many.

        Raises:
            UserError: the folder is of another model, the input lacks rows, another worker is at it, the engine
                failed, or no adapter came for too long.
            SystemExit: 130, where the user or SIGTERM stopped it; the same command goes on.
        """
        done = 0
        with stoppable(self.folder.path), self._locked(self._await_run()) as run, ExitStack() as stack:
            rows = trained_rows(run, self.request.rows)
            policy = replace(self.request.policy, sequence_len=run.sequence_len)
            self.request = replace(self.request, policy=policy)
            self._tried = self.folder.tried()
            pool = stack.enter_context(self.request.verifier.pool())
            left = self._left_half_way()
            while (step := self._await_step(rows) if left is None else left.step) is not None:
                if self._use(step, stack):
                    self._draw(left or self._next_batch(step), rows, pool)
                    done += 1
                left = None
        return done

    def _await_run(self) -> TrainingRun:
        """The run, once it has begun."""
        for _ in self._waiting(f"{self.folder.path}: waiting for a training run to begin"):
            if (run := self.folder.run()) is not None:
                break
        assert run is not None
        tokenizer = load_tokenizer(self.request.policy.spec)
        asked = self.request.policy.spec.model
        if not same_model(asked, run.base_model):
            raise UserError(
                f"{self.folder.path}: belongs to a run that trains {run.base_model}, and this worker draws with "
                f"{asked}; give the run's --recipe or --model, or its own --folder"
            )
        for name, ours in (("tokenizer", tokenizer.fingerprint), ("chat_template", tokenizer.template)):
            if (theirs := getattr(run, name)) != ours:
                raise UserError(
                    f"{self.folder.path}: the run's {name} is {theirs}, this worker's is {ours}: ids or prompts "
                    "differ; give the run's --recipe"
                )
        return run

    @contextmanager
    def _locked(self, run: TrainingRun) -> Iterator[TrainingRun]:
        """Keep other workers out."""
        with (self.folder.path / "worker.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"{self.folder.path}: another worker is at it; stop it, or leave it to that one"
                ) from error
            yield run

    def _left_half_way(self) -> Batch | None:
        """The batch to go on with."""
        left = self.folder.unfinished()
        if left is None or (left.step in self.folder.versions() and not self.options.restart):
            return left
        RunFiles.beside(self.folder.files(left)).journal.unlink()
        return None

    def _await_step(self, rows: dict[str, TrainedRow]) -> int | None:
        """The step of the newest adapter, once a row is due; None when the run is over."""
        for _ in self._waiting(None):
            if self.folder.finished:
                return None
            newest = max(self.folder.versions(), default=0)
            if next_rows(list(rows), self._tried, newest, 1):
                return newest
        return None

    def _waiting(self, notice: str | None) -> Iterator[None]:
        """Look again and again, saying so if it is not there at once.

        Raises:
            UserError: patience is at its end.
        """
        began = time.monotonic()
        yield
        if notice is not None:
            self._say(notice)
        while self.options.patience is None or time.monotonic() - began < self.options.patience:
            time.sleep(POLL_SECONDS)
            yield
        raise UserError(
            f"{self.folder.path}: no new adapter for {self.options.patience:g} s (--patience); is training running? "
            "Run the same command again to go on"
        )

    def _use(self, step: int, stack: ExitStack) -> bool:
        """Draw with the adapter of ``step`` from now on; one that cannot be used is skipped."""
        if step == self._step:
            return True
        adapter = self.folder.adapter(step)
        try:
            refuse_broken_adapter(adapter)
            if self._engine is None:
                policy, seed = _with_adapter(self.request.policy, adapter), self.request.options.seed
                running = running_engine(policy, self.request.sampling, seed=seed, quiet=self.options.quiet)
                self._engine = stack.enter_context(running)
            else:
                assert isinstance(self._engine, ExchangesAdapters)
                self._engine.use_adapter(str(adapter))
        except AdapterError as error:
            self.folder.skip(step, error.message)
            self._say(f"{error.message}; it is skipped, and the next one is awaited")
            return False
        self._step = step
        return True

    def _next_batch(self, step: int) -> Batch:
        return Batch(step, 1 + max((one.number for one in self.folder.batches() if one.step == step), default=0))

    def _draw(self, batch: Batch, rows: dict[str, TrainedRow], pool: VerifierPool) -> None:
        """Draw the rows that are due, and publish them."""
        assert self._engine is not None
        count = self.options.batch_rows or ROWS_PER_SLOT * self._engine.slots
        ids = next_rows(list(rows), self._tried, batch.step, count)
        # Another adapter draws with other random numbers.
        options = replace(self.request.options, seed=self.request.options.seed + batch.step)
        policy = _with_adapter(self.request.policy, self.folder.adapter(batch.step))
        request = replace(self.request, policy=policy, options=options)
        job = RefreshJob(request, self._engine, batch.step, [rows[one] for one in ids])
        files = RunFiles.beside(self.folder.files(batch))
        began = time.monotonic()
        try:
            execute(job, self._engine, pool, RunOptions(files, quiet=self.options.quiet))
        except UserError:
            if files.journal.exists() or not files.failed.exists():
                raise
            # Every row failed, and the file of failed rows says so.
        note_tried(self._tried, self.folder.ids(batch), batch.step)
        tiers = ", ".join(f"{job.tally.tiers[tier]} {tier}" for tier in ("self", "guided", "expert"))
        failed = len(ids) - job.tally.tiers.total()
        drawn = f"{tiers}, {failed} failed" if failed else tiers
        self._say(f"{files.output.name}: {drawn}; {time.monotonic() - began:.1f} s")


def _with_adapter(policy: Policy, adapter: Path) -> Policy:
    return replace(policy, spec=replace(policy.spec, adapter=str(adapter)))
