"""A replica: an actor of the cluster with one engine, one verifier pool and one scheduler for all its calls."""

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from mindgap_data.errors import UserError, one_line
from mindgap_data.run.cluster.draws import SharedJournal
from mindgap_data.run.cluster.folder import WorkFolder, result_table
from mindgap_data.run.cluster.work import Result, Work, counted
from mindgap_data.run.job import FailedRow, Finished
from mindgap_data.run.outcomes import Meter
from mindgap_data.run.scheduler import Scheduler, Steps, Task

T = TypeVar("T")

# Engines that died in one run, a replica: more than that, and the reason is no accident.
MOST_FAULTS = 3
TELL_SECONDS = 1.0


class Replica(Generic[T]):
    """Works on blocks of rows, many calls at a time, all in the batches of one engine.

    A dead engine ends the process: the cluster starts another one, which opens an engine of its own. An exception
    would be answered by trying again on the same dead engine.
    """

    def __init__(self, work: Work[T], folder: WorkFolder, directory: Path, replicas: int) -> None:
        """Open the engine.

        Args:
            work: what to do.
            folder: of the run.
            directory: the driver's, which relative paths start from.
            replicas: how many there are.

        Raises:
            UserError: the engine cannot be had, has died too often, or is another than that of other replicas.
        """
        if len(faults := folder.faults()) > MOST_FAULTS * replicas:
            raise UserError(f"the engines have died {len(faults)} times; the last: {faults[-1]}")
        if directory.is_dir():
            os.chdir(directory)
        self._folder = folder
        self._name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._queue: SimpleQueue[Task[None]] = SimpleQueue()
        self._stack = ExitStack()
        self._pool = self._stack.enter_context(work.pool())
        self._engine = self._stack.enter_context(work.engine(quiet=True))
        self._job = work.job(self._engine)
        folder.agree(self._job.settings, self._engine)
        self._open = self._calls = 0  # rows in the scheduler; calls that wait
        self._meter = Meter(slots=self._engine.slots)
        self._began = self._told = time.monotonic()
        self._lock = threading.Lock()
        self._tell()
        threading.Thread(target=self._serve, name="mindgap-scheduler", daemon=True).start()

    def __call__(self, rows: Any) -> Any:
        """What a block of rows became: a pyarrow.Table of (id, line) to one of results."""
        with self._lock:
            self._calls += 1
        futures = [self._submit(*row) for row in zip(rows["id"].to_pylist(), rows["line"].to_pylist(), strict=True)]
        results = [future.result() for future in futures]
        with self._lock:
            self._calls -= 1
            if not self._calls or time.monotonic() - self._told > TELL_SECONDS:
                self._tell()
        return result_table(results)

    def _submit(self, id: int, line: str) -> Future[Result[T]]:
        done: Future[Result[T]] = Future()
        task = self._job.task(line)
        self._queue.put(Task(self._steps(id, task.steps, done), task.answer, task.row))
        return done

    def _steps(self, id: int, steps: Steps[Finished[T] | FailedRow], done: Future[Result[T]]) -> Steps[None]:
        """The procedure of a row, whose result goes to its call at once."""
        self._open += 1
        cost = Meter()
        one = yield from counted(steps, cost)
        self._open -= 1
        done.set_result(Result.of(id, one, self._job, cost))

    def _tasks(self) -> Iterator[Task[None] | None]:
        """Rows as the calls bring them; None where there is none and others are open."""
        while True:
            try:
                yield self._queue.get(block=not self._open)
            except Empty:
                yield None

    def _serve(self) -> None:
        """Run the scheduler until the process ends."""
        try:
            with SharedJournal(self._folder.journals, self._job.settings) as journal:
                scheduler = Scheduler[None](self._engine, self._pool, journal, keep=self._job.keep)
                self._meter = scheduler.meter
                for _ in scheduler.run(self._tasks()):
                    pass
        except BaseException as error:  # noqa: BLE001  whatever it is, nobody would serve the calls any more
            self._folder.tell_fault(f"{socket.gethostname()}: {one_line(error)}")
            os._exit(1)

    def _tell(self) -> None:
        meter, self._told = self._meter, time.monotonic()
        self._folder.tell(
            self._name,
            {
                "replica": self._name,
                "rows": meter.rows,
                "draws": meter.draws,
                "drawn_tokens": meter.drawn_tokens,
                "scored_tokens": meter.scored_tokens,
                "recalled": meter.recalled,
                "recalled_draws": meter.recalled_draws,
                "recalled_tokens": meter.recalled_tokens,
                "ahead_draws": meter.ahead_draws,
                "ahead_tokens": meter.ahead_tokens,
                "slots": meter.slots,
                "busy": meter.busy,
                "occupancy": meter.occupancy,
                "seconds": round(self._told - self._began, 2),
            },
        )
