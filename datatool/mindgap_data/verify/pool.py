"""A pool of worker processes that check responses under hard limits of time and memory."""

import multiprocessing
import os
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any

from mindgap_data.errors import UserError
from mindgap_data.verify import Verdict, Verifier, worker
from mindgap_data.verify.load import known_names, load_verifier

if TYPE_CHECKING:
    from pebble import ProcessPool

TASKS_PER_WORKER = 2_000  # then the process is replaced: parsers keep caches
QUEUED_PER_WORKER = 16
MIN_MEMORY_MB = 256
_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


class VerifierPool:
    """Checks responses in worker processes; a context manager.

    A task that outlives ``timeout``, exceeds the memory limit or kills its worker is a checker error and
    costs no other task anything but that worker's restart; a worker killed from outside loses nothing,
    since its task is run once more. ``submit`` blocks while ``QUEUED_PER_WORKER`` tasks a worker wait.
    A verifier with a method ``quick(response, answer, row) -> Verdict | None`` settles what it can there,
    in the calling process: only what is safe and linear in the text belongs in it.
    """

    def __init__(
        self,
        verifier: str = "math",
        options: Mapping[str, Any] = _NO_OPTIONS,
        timeout: float = 5.0,
        workers: int | None = None,
        memory_mb: int = 2048,
    ) -> None:
        """Make the pool; processes start with the first task that needs one.

        Args:
            verifier: of every row that names none in its field ``verifier``, see ``load_verifier``.
            options: of that verifier.
            timeout: seconds a check may take; a verifier with ``pool_seconds`` (a sandbox, a judge) gets at
                least that.
            workers: processes; by default one for each CPU this process may use.
            memory_mb: address space of a worker, MiB.

        Raises:
            UserError: the verifier or its options are unknown, or a limit is out of range.
        """
        if timeout <= 0:
            raise UserError(f"the time limit of a check must be above 0 seconds, got {timeout}")
        if memory_mb < MIN_MEMORY_MB:
            raise UserError(f"the memory limit of a check must be at least {MIN_MEMORY_MB} MiB, got {memory_mb}")
        if workers is not None and workers < 1:
            raise UserError(f"verifier workers must be at least 1, got {workers}")
        self.spec = verifier
        self._options = dict(options)
        self._timeout = timeout
        self._verifiers: dict[str, Verifier] = {verifier: load_verifier(verifier, options)}
        self._workers = workers or len(os.sched_getaffinity(0))
        self._memory_mb = memory_mb
        self._slots = threading.BoundedSemaphore(self._workers * QUEUED_PER_WORKER)
        self._lock = threading.Lock()
        self._pool: ProcessPool | None = None
        self._broken: list[ProcessPool] = []
        self._closed = False
        self._running: set[_Task] = set()

    def __enter__(self) -> "VerifierPool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers now; what is still in flight becomes a checker error."""
        with self._lock:
            self._closed = True
            pools = [pool for pool in (self._pool, *self._broken) if pool is not None]
            self._pool, self._broken = None, []
        for pool in pools:
            pool.stop()
            # Ctrl-C inside Condition.notify leaves a waiter behind that takes the next wake-up, here join's own, and
            # join would wait for ever (python/cpython#92530): one more.
            pool._context.task_queue.put(None)
            pool.join()
        for task in list(self._running):
            self._settle(task, Verdict.CHECKER_ERROR)

    @property
    def needs_answer(self) -> bool:
        """Whether the pool's own verifier compares with a reference answer (a code or judged task may have none)."""
        return bool(getattr(self._verifiers[self.spec], "needs_answer", True))

    def verifier_of(self, row: Mapping[str, Any]) -> str:
        """Name of the verifier a row is checked with: its field ``verifier``, or the pool's own.

        A data file may only pick what is installed under a name: ``module:function`` in a row would let
        the file run any code there is, so it counts only where it is the pool's own.

        Raises:
            UserError: the row names an unknown verifier.
        """
        named = row.get("verifier")
        if named is None or named == self.spec:
            return self.spec
        if not isinstance(named, str) or named not in known_names():
            raise UserError(f"field verifier: {str(named)[:60]!r} is not one of {', '.join(known_names())}")
        return named

    def submit(self, response: str, answer: str, row: Mapping[str, Any]) -> "Future[Verdict]":
        """Check ``response`` against ``answer``; the future always ends in a verdict, never in an exception."""
        done: Future[Verdict] = Future()
        done.set_running_or_notify_cancel()
        try:
            spec = self.verifier_of(row)
            verifier = self._verifiers.get(spec) or self._verifiers.setdefault(spec, load_verifier(spec))
            quick = getattr(verifier, "quick", None)
            verdict = quick(response, answer, row) if quick is not None else None
        # A row's verifier may be unknown, and a user's own quick may hold any fault.
        except Exception:  # noqa: BLE001
            verdict = Verdict.CHECKER_ERROR
        if verdict is not None:
            done.set_result(verdict)
            return done
        self._slots.acquire()
        done.add_done_callback(lambda _: self._slots.release())
        limit = max(self._timeout, getattr(verifier, "pool_seconds", 0.0))
        self._run(_Task(done, (spec, response, answer, dict(row)), limit))
        return done

    def _run(self, task: "_Task") -> None:
        """Hand the task to a live pool."""
        self._running.add(task)
        try:
            future = self._live_pool().schedule(worker.check, args=task.args, timeout=task.limit)
        except RuntimeError:  # closed or, between two checks of its health, broken
            self._settle(task, Verdict.CHECKER_ERROR)
            return
        future.add_done_callback(lambda ended: self._ended(task, ended))

    def _ended(self, task: "_Task", ended: "Future[str]") -> None:
        """Settle a task, or run it once more when its worker died under it."""
        from concurrent.futures.process import BrokenProcessPool

        from pebble import ProcessExpired

        error = ended.exception() if not ended.cancelled() else None
        if isinstance(error, ProcessExpired | BrokenProcessPool) and not (task.again or self._closed):
            task.again = True
            self._run(task)
        elif error is not None or ended.cancelled():
            self._settle(task, Verdict.CHECKER_ERROR)
        else:
            self._settle(task, Verdict(ended.result()))

    def _settle(self, task: "_Task", verdict: Verdict) -> None:
        self._running.discard(task)
        if not task.done.done():
            task.done.set_result(verdict)

    def _live_pool(self) -> "ProcessPool":
        """The pool of processes, made on first use and again when it broke (all its workers died idle)."""
        from pebble import ProcessPool

        with self._lock:
            if self._closed:
                raise RuntimeError("the verifier pool is closed")
            if self._pool is not None and not self._pool.active:
                self._broken.append(self._pool)
                self._pool = None
            if self._pool is None:
                context = multiprocessing.get_context("forkserver")
                context.set_forkserver_preload(["mindgap_data.verify.worker"])
                self._pool = ProcessPool(
                    self._workers,
                    max_tasks=TASKS_PER_WORKER,
                    initializer=worker.start,
                    initargs=(self.spec, self._options, self._memory_mb),
                    context=context,
                )
            return self._pool


@dataclass(eq=False)
class _Task:
    """One check on its way through the pool."""

    done: "Future[Verdict]"
    args: tuple[Any, ...]
    limit: float  # seconds
    again: bool = False  # its worker died under it once
