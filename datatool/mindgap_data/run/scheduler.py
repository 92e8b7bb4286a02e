"""Runs many small per-row procedures over one engine, keeping its batches full, with a journal for reruns.

A procedure is a generator: it yields lists of requests, is sent their outcomes, and returns the row's
result. Draws come back checked. No row waits for another: whatever is pending shares the engine.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Generic, Literal, TypeVar

from mindgap_data.engines import Completion, Draw, Engine, Failure, Request, Result, Scores
from mindgap_data.run.journal import Journal
from mindgap_data.verify import Verdict
from mindgap_data.verify.pool import VerifierPool

T = TypeVar("T")

# Rows admitted and not yet written, per request the engine wants: bounds what waits behind a slow row.
OPEN_ROWS_PER_SLOT = 64


@dataclass(frozen=True)
class Attempt:
    """A draw that has been checked. ``text`` ends before the end-of-turn token."""

    verdict: Literal["correct", "wrong", "no_answer", "checker_error", "truncated"]
    tokens: int  # how many were drawn
    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]

    def without_body(self) -> "Attempt":
        """The verdict and the cost alone."""
        return replace(self, text="", token_ids=(), logprobs=())


Outcome = Attempt | Scores | Failure
Steps = Generator[Sequence[Request], Sequence[Outcome], T]


@dataclass(frozen=True)
class Task(Generic[T]):
    """One row's procedure, and what its draws are checked against."""

    steps: Steps[T]
    answer: str = ""
    row: Mapping[str, Any] | None = None


@dataclass
class Meter:
    """What has happened so far, for the progress line and the summary; earlier runs' share included."""

    draws: int = 0
    drawn_tokens: int = 0
    scored_tokens: int = 0
    recalled: int = 0  # requests answered from the journal
    recalled_tokens: int = 0  # tokens of those, drawn or scored

    def count(self, outcome: Outcome) -> None:
        """Count one outcome."""
        if isinstance(outcome, Attempt):
            self.draws += 1
            self.drawn_tokens += outcome.tokens
        elif isinstance(outcome, Scores):
            self.scored_tokens += len(outcome.logprobs)

    @property
    def fresh_tokens(self) -> int:
        """Tokens drawn and scored by this run, not recalled."""
        return self.drawn_tokens + self.scored_tokens - self.recalled_tokens


def encode_outcome(outcome: Outcome) -> Any:
    """An outcome as JSON, for the journal."""
    match outcome:
        case Attempt():
            return ["a", outcome.verdict, outcome.tokens, outcome.text, outcome.token_ids, outcome.logprobs]
        case Scores():
            return ["s", outcome.logprobs]
        case Failure():
            return ["f", outcome.reason]


def decode_outcome(value: Any) -> Outcome:
    """The inverse of :func:`encode_outcome`."""
    match value:
        case ["a", verdict, tokens, text, ids, logprobs]:
            return Attempt(verdict, tokens, text, tuple(ids), tuple(logprobs))
        case ["s", logprobs]:
            return Scores(tuple(logprobs))
        case ["f", reason]:
            return Failure(reason)
    raise ValueError(f"not a journalled outcome: {value!r:.80}")


@dataclass
class _Open(Generic[T]):
    """A row on its way: the outcomes it still waits for, and its result once it has one."""

    task: Task[T]
    missing: int = 0
    keys: tuple[str, ...] = ()
    result: T | None = None
    done: bool = False


class Scheduler(Generic[T]):
    """Feeds an engine from many tasks and gives their results in the order of the tasks."""

    def __init__(
        self,
        engine: Engine,
        verifier: VerifierPool | None,
        journal: Journal[Outcome] | None = None,
        keep: Callable[[Attempt], Attempt] = lambda attempt: attempt,
    ) -> None:
        """Set up a run.

        Args:
            engine: what draws and scores.
            verifier: checks draws; None where tasks only score.
            journal: remembers outcomes for a rerun.
            keep: what of an attempt is journalled and given to the task (drop what it will not use).
        """
        self.meter = Meter()
        self._engine, self._verifier, self._journal, self._keep = engine, verifier, journal, keep
        self._pending: list[Request] = []
        self._owner: dict[str, _Open[T]] = {}
        self._starts = count()
        self._started: dict[str, int] = {}  # the place of each request in the order of starting
        self._outcomes: dict[str, Outcome] = {}
        self._checking: dict[Future[Verdict], tuple[Request, Completion]] = {}

    def run(self, tasks: Iterable[Task[T]]) -> Iterator[T]:
        """Results in the order of ``tasks``, which are taken as the engine has room.

        Raises:
            UserError: the engine or the journal failed; what was journalled is kept.
        """
        window: deque[_Open[T]] = deque()
        source = iter(tasks)
        exhausted = False
        limit = OPEN_ROWS_PER_SLOT * self._engine.capacity
        while True:
            while not exhausted and self._hungry() and len(window) < limit:
                task = next(source, None)
                if task is None:
                    exhausted = True
                    break
                window.append(opened := _Open(task))
                self._advance(opened, None)
            while window and window[0].done:
                yield window.popleft().result  # type: ignore[misc]
            if exhausted and not window:
                return
            if self._hungry() and not exhausted and len(window) < limit:
                continue
            self._work()

    def _hungry(self) -> bool:
        return len(self._pending) + self._engine.in_flight + len(self._checking) < self._engine.capacity

    def _advance(self, opened: _Open[T], outcomes: Sequence[Outcome] | None) -> None:
        """Run a task until it waits for the engine or is done."""
        try:
            requests = opened.task.steps.send(outcomes)  # type: ignore[arg-type]
        except StopIteration as stop:
            opened.result, opened.done = stop.value, True
            return
        opened.keys = tuple(request.key for request in requests)
        opened.missing = len(requests)
        for request in requests:
            self._owner[request.key] = opened
            self._pending.append(request)

    def _work(self) -> None:
        """Start what can start, and deliver one group of finished requests."""
        recalled: dict[str, Outcome] = {}
        if batch := self._engine.pick(self._pending):
            chosen = {request.key for request in batch}
            self._started.update((request.key, next(self._starts)) for request in batch)
            self._pending = [request for request in self._pending if request.key not in chosen]
            if self._journal is not None:
                recalled = {
                    request.key: outcome
                    for request in batch
                    if (outcome := self._journal.recall(request.key)) is not None
                }
            if fresh := [request for request in batch if request.key not in recalled]:
                self._engine.submit(fresh)
        if recalled:
            before = self.meter.fresh_tokens
            self._deliver(recalled)
            self.meter.recalled += len(recalled)
            self.meter.recalled_tokens += self.meter.fresh_tokens - before
            return
        finished: dict[str, Outcome] = {}
        if self._engine.in_flight:
            for request, result in self._engine.collect():
                self._take(request, result, finished)
        finished.update(self._verdicts())
        if finished:
            if self._journal is not None:
                self._journal.record(finished)
            self._deliver(finished)

    def _take(self, request: Request, result: Result, finished: dict[str, Outcome]) -> None:
        """Send a complete draw to its check; anything else is finished."""
        if not isinstance(result, Completion):
            finished[request.key] = result
            return
        if result.finish == "length":
            finished[request.key] = self._attempt(result, "truncated")
            return
        assert self._verifier is not None, "a task that draws needs a verifier"
        task = self._owner[request.key].task
        text = self._engine.tokenizer.response_text(result.token_ids)
        self._checking[self._verifier.submit(text, task.answer, task.row or {})] = (request, result)

    def _verdicts(self) -> dict[str, Outcome]:
        """Verdicts that are ready; all of them, waited for, when the engine has nothing to do meanwhile."""
        while not self._engine.in_flight and self._checking and not all(future.done() for future in self._checking):
            wait(self._checking, return_when=FIRST_COMPLETED)
        ready = [future for future in self._checking if future.done()]
        found: dict[str, Outcome] = {}
        for future in ready:
            request, completion = self._checking.pop(future)
            found[request.key] = self._attempt(completion, future.result().value)
        return found

    def _attempt(self, completion: Completion, verdict: Any) -> Attempt:
        text = self._engine.tokenizer.response_text(completion.token_ids)
        attempt = Attempt(verdict, len(completion.token_ids), text, completion.token_ids, completion.logprobs)
        return self._keep(attempt)

    def _deliver(self, outcomes: Mapping[str, Outcome]) -> None:
        """Give outcomes to their tasks, in the order the requests were started, and let those move on.

        The order decides the next batches, so it must not depend on which verdicts came first, or on
        whether an outcome was recalled.
        """
        for key in sorted(outcomes, key=self._started.__getitem__):
            outcome = outcomes[key]
            del self._started[key]
            self.meter.count(outcome)
            self._outcomes[key] = outcome
            opened = self._owner.pop(key)
            opened.missing -= 1
            if opened.missing == 0:
                self._advance(opened, [self._outcomes.pop(key) for key in opened.keys])


def draw(key: str, prompt_ids: Sequence[int], run_seed: int, max_tokens: int) -> Draw:
    """A draw whose own seed follows from the run's seed and its key."""
    from hashlib import blake2b

    digest = blake2b(f"{run_seed}/{key}".encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return Draw(key, tuple(prompt_ids), int.from_bytes(digest, "big") & 0x7FFFFFFF, max_tokens)
