"""Runs many small per-row procedures over one engine, keeping its slots full, with a journal for reruns.

A procedure is a generator: it yields requests, is sent their outcomes, and returns the row's result.
Draws come back checked. No row waits for another: whatever is pending shares the engine.
"""

from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Generic, TypeVar

from mindgap_data.engines import PATIENCE, Completion, Draw, Engine, Failure, Recalled, Request, Result
from mindgap_data.run.journal import Journal
from mindgap_data.run.outcomes import Attempt, Dropped, Meter, Outcome
from mindgap_data.verify import Verdict
from mindgap_data.verify.pool import VerifierPool

T = TypeVar("T")

# Rows admitted and not yet written, per request the engine wants: bounds what waits behind a slow row.
OPEN_ROWS_PER_SLOT = 64
# Over an exact engine, finished draws that may still wait for their verdict, a slot, before it is waited for.
CHECKS_PER_SLOT = 4
NEVER = 2**62  # tokens of a recalled draw that was given up before it ended


@dataclass(frozen=True)
class Ask:
    """What a task waits for, and what it will ask for next unless the outcome decides."""

    requests: Sequence[Request]
    later: Sequence[Draw] = ()  # in order; started ahead where slots are free


Steps = Generator[Sequence[Request] | Ask, Sequence[Outcome], T]


@dataclass(frozen=True)
class Task(Generic[T]):
    """One row's procedure, and what its draws are checked against."""

    steps: Steps[T]
    answer: str = ""
    row: Mapping[str, Any] | None = None


@dataclass
class _Open(Generic[T]):
    """A row on its way: the outcomes it still waits for, and its result once it has one."""

    task: Task[T]
    missing: int = 0
    draws: int = 0  # given to it so far
    keys: tuple[str, ...] = ()
    later: tuple[Draw, ...] = ()  # that may still be started ahead
    ahead: dict[str, Outcome | None] = field(default_factory=dict)  # started early, with its outcome once known
    result: T | None = None
    done: bool = False


@dataclass
class _Check:
    """A finished draw on its way to its task."""

    tokens: int
    idle: int  # the engine's idle steps when it finished
    completion: Completion | None = None  # None: its outcome is recalled
    verdict: Future[Verdict] | None = None
    outcome: Outcome | None = None


class Scheduler(Generic[T]):
    """Feeds an engine from many tasks and gives their results in the order of the tasks.

    Over an exact engine everything that decides its next step happens in an order that follows from the
    requests alone: outcomes are given to tasks in the order in which the draws finished, never in that in
    which verdicts happen to come. Over any other engine a verdict is given to its task as soon as it is there.
    """

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
        self.meter = Meter(slots=engine.slots)
        self._engine, self._verifier, self._journal, self._keep = engine, verifier, journal, keep
        self._pending: list[Request] = []
        self._owner: dict[str, _Open[T]] = {}
        self._starts = count()
        self._started: dict[str, int] = {}  # the place of each request in the order of starting
        self._outcomes: dict[str, Outcome] = {}
        self._checks: dict[str, _Check] = {}  # in the order in which the draws finished
        self._recalled: dict[str, Outcome] = {}  # of draws that take their place in an exact engine
        self._old: set[str] = set()  # recalled and not yet counted
        self._hinting: dict[int, _Open[T]] = {}  # rows that may start draws ahead

    def run(self, tasks: Iterable[Task[T] | None]) -> Iterator[T]:
        """Results in the order of ``tasks``, which are taken as the engine has room.

        A source that gives None has no task at the moment and is asked again when the engine has worked; with no
        task of its own open it must wait for the next one itself.

        Raises:
            UserError: the engine or the journal failed; what was journalled is kept.
        """
        window: deque[_Open[T]] = deque()
        source = iter(tasks)
        exhausted = False
        while True:
            limit = OPEN_ROWS_PER_SLOT * self._engine.capacity
            dry = False
            while not (exhausted or dry) and self._hungry() and len(window) < limit:
                task = next(source, _END)
                if isinstance(task, Task):
                    window.append(opened := _Open(task))
                    self._advance(opened, None)
                exhausted, dry = task is _END, task is None
            while window and window[0].done:
                yield window.popleft().result  # type: ignore[misc]
            if exhausted and not window:
                return
            if self._hungry() and not (exhausted or dry) and len(window) < limit:
                continue
            self._start_ahead()
            self._work()

    def _hungry(self) -> bool:
        return len(self._pending) + self._engine.in_flight < self._engine.capacity

    def _free_slots(self) -> int:
        """Slots that nothing pending is going to take."""
        waiting = sum(isinstance(request, Draw) for request in self._pending)
        return self._engine.slots - self._engine.in_flight - waiting

    def _advance(self, opened: _Open[T], outcomes: Sequence[Outcome] | None) -> None:
        """Run a task until it waits for the engine or is done."""
        while True:
            try:
                asked = opened.task.steps.send(outcomes)  # type: ignore[arg-type]
            except StopIteration as stop:
                opened.result, opened.done = stop.value, True
                self.meter.rows += 1
                self.meter.ended[opened.draws] += 1
                asked = Ask(())
            ask = asked if isinstance(asked, Ask) else Ask(asked)
            wanted = {request.key for request in [*ask.requests, *ask.later]}
            self._give_up(opened, wanted)
            opened.keys = tuple(request.key for request in ask.requests)
            opened.later = tuple(one for one in ask.later if one.key not in opened.ahead)
            opened.missing = 0
            for request in ask.requests:
                self._request(opened, request)
            if opened.later and not opened.done:
                self._hinting[id(opened)] = opened
            else:
                self._hinting.pop(id(opened), None)
            if opened.missing or opened.done:
                return
            outcomes = [self._outcomes.pop(key) for key in opened.keys]

    def _request(self, opened: _Open[T], request: Request) -> None:
        """Ask the engine for ``request``, unless it was started ahead."""
        key = request.key
        if key in opened.ahead:
            outcome, check = opened.ahead.pop(key), self._checks.get(key)
            known = outcome or self._recalled.get(key) or (check and check.outcome)
            if not isinstance(known, Dropped):
                if outcome is None:
                    opened.missing += 1
                else:
                    self._give(opened, key, outcome)
                return
            # A rerun with other slots than the run it continues needs what that one could do without.
            self._engine.cancel([key])
            self._recalled.pop(key, None)
            self._checks.pop(key, None)
            self._old.discard(key)
        opened.missing += 1
        self._owner[key] = opened
        self._pending.append(request)

    def _start_ahead(self) -> None:
        """Where slots are free, begin draws that are more likely needed than not: fewest begun first, then oldest."""
        free = self._free_slots() if self._hinting else 0
        if free <= 0:
            return
        rows = [
            opened
            for opened in self._hinting.values()
            if self._needs_next(opened) and not all(key in self._checks for key in opened.keys)
        ]
        for opened in sorted(rows, key=lambda one: len(one.ahead))[:free]:
            ahead, *later = opened.later
            opened.ahead[ahead.key] = None
            opened.later = tuple(later)
            self._owner[ahead.key] = opened
            self._pending.append(ahead)
            if not later:
                del self._hinting[id(opened)]

    def _needs_next(self, opened: _Open[T]) -> bool:
        """Whether the row is more likely than not to need the draw after those it has begun, as earlier rows did."""
        chance = 1.0
        for n in range(opened.draws + 1, opened.draws + 2 + len(opened.ahead)):
            reached = self.meter.reached[n]
            chance *= (reached - self.meter.ended[n] + 1) / (reached + 2)
        return chance >= 0.5

    def _give_up(self, opened: _Open[T], wanted: Collection[str]) -> None:
        """Drop what was started ahead and is not wanted any more."""
        unwanted = [key for key in opened.ahead if key not in wanted]
        if not unwanted:
            return
        self._pending = [request for request in self._pending if request.key not in unwanted]
        dropped: dict[str, Outcome] = {}
        self.meter.ahead_tokens += self._engine.cancel(unwanted)
        for key in unwanted:
            outcome, check = opened.ahead.pop(key), self._checks.pop(key, None)
            recalled = self._recalled.pop(key, None) or (check and check.outcome)
            started = self._started.pop(key, None) is not None
            self._owner.pop(key, None)
            self._old.discard(key)
            if outcome is not None or started:
                self.meter.ahead_draws += 1
                self.meter.ahead_tokens += _tokens(outcome) if outcome else check.tokens if check else 0
            if started and outcome is None and recalled is None:
                dropped[key] = Dropped(check.tokens if check else None)
        self._record(dropped)

    def _work(self) -> None:
        """Start what can start, let the engine work, and give finished requests to their tasks."""
        finished = self._start()
        if self._engine.in_flight and not finished:
            waiting = [check.verdict or _DONE for check in self._checks.values()]
            fresh: dict[str, Outcome] = {}
            for request, result in self._engine.collect(waiting):
                if request.key in self._owner:
                    self._take(request, result, finished, fresh)
            self._record(fresh)
            finished |= fresh
        self._judge([key for key, check in self._checks.items() if check.verdict is not None and check.verdict.done()])
        self._deliver(finished)
        if self._engine.exact:
            self._settle()
        else:
            self._pass_on(waits=not (finished or self._pending or self._engine.in_flight))
        self.meter.slots, self.meter.occupancy = self._engine.slots, self._engine.occupancy
        self.meter.busy = min(self._engine.in_flight, self._engine.slots)

    def _start(self) -> dict[str, Outcome]:
        """Hand the engine what it picks; what the journal knows of it and what takes no place is returned."""
        known: dict[str, Outcome] = {}
        fresh: list[Request | Recalled] = []
        batch = self._engine.pick(self._pending)
        chosen = {request.key for request in batch}
        self._started.update((request.key, next(self._starts)) for request in batch)
        self._pending = [request for request in self._pending if request.key not in chosen]
        for request in batch:
            outcome = self._journal.recall(request.key) if self._journal is not None else None
            if isinstance(outcome, Dropped) and not (
                self._engine.exact and request.key in self._owner[request.key].ahead
            ):
                outcome = None
            if outcome is None:
                fresh.append(request)
                continue
            self._old.add(request.key)
            if self._engine.exact and isinstance(request, Draw) and isinstance(outcome, Attempt | Dropped):
                self._recalled[request.key] = outcome
                fresh.append(Recalled(request, NEVER if outcome.tokens is None else outcome.tokens))
            else:
                known[request.key] = outcome
        if fresh:
            self._engine.submit(fresh)
        return known

    def _take(self, request: Request, result: Result, finished: dict[str, Outcome], fresh: dict[str, Outcome]) -> None:
        """Send a whole draw to its check; anything else is finished."""
        if isinstance(result, Recalled):
            outcome = self._recalled.pop(request.key)
            if isinstance(outcome, Attempt) and outcome.verdict == "truncated":
                finished[request.key] = outcome
            else:
                self._checks[request.key] = _Check(result.tokens, self._engine.idle_steps, outcome=outcome)
        elif not isinstance(result, Completion):
            fresh[request.key] = result
        elif result.finish == "length":
            fresh[request.key] = self._attempt(result, "truncated")
        else:
            assert self._verifier is not None, "a task that draws needs a verifier"
            task = self._owner[request.key].task
            text = self._engine.tokenizer.response_text(result.token_ids)
            verdict = self._verifier.submit(text, task.answer, task.row or {})
            self._checks[request.key] = _Check(len(result.token_ids), self._engine.idle_steps, result, verdict)

    def _judge(self, keys: Iterable[str]) -> None:
        """Take the verdicts of these draws, waiting for them, and journal what is new."""
        found: dict[str, Outcome] = {}
        for key in keys:
            check = self._checks[key]
            if check.outcome is None:
                assert check.verdict is not None
                assert check.completion is not None
                check.outcome = found[key] = self._attempt(check.completion, check.verdict.result().value)
        self._record(found)

    def _settle(self) -> None:
        """Over an exact engine: give draws to their tasks in the order in which they finished.

        One is due when several times as many as there are slots have finished since, or when slots are free,
        nothing pending takes them, and the engine's patience is spent. Only then is its verdict waited for.
        """
        while self._checks:
            key, check = next(iter(self._checks.items()))
            engine = self._engine
            overdue = len(self._checks) > CHECKS_PER_SLOT * engine.slots
            wanted = self._free_slots() > 0 and engine.idle_steps - check.idle >= PATIENCE * engine.in_flight
            if not overdue and not wanted:
                return
            self._judge([key])
            del self._checks[key]
            assert check.outcome is not None
            self._deliver({key: check.outcome})

    def _pass_on(self, waits: bool) -> None:
        """Over any other engine: give every draw with a verdict to its task; with nothing else to do, wait for one."""
        if waits and self._checks and all(check.outcome is None for check in self._checks.values()):
            verdicts = {check.verdict: key for key, check in self._checks.items() if check.verdict is not None}
            done, _ = wait(verdicts, return_when=FIRST_COMPLETED)
            self._judge([verdicts[verdict] for verdict in done])
        found = {key: check.outcome for key, check in self._checks.items() if check.outcome is not None}
        for key in found:
            del self._checks[key]
        self._deliver(found)

    def _attempt(self, completion: Completion, verdict: Any) -> Attempt:
        text = self._engine.tokenizer.response_text(completion.token_ids)
        attempt = Attempt(verdict, len(completion.token_ids), text, completion.token_ids, completion.logprobs)
        return self._keep(attempt)

    def _deliver(self, outcomes: Mapping[str, Outcome]) -> None:
        """Give outcomes to their tasks, in the order the requests were started, and let those move on.

        The order decides what is drawn next, so it must not depend on which verdicts came first, or on
        whether an outcome was recalled.
        """
        keys = sorted(outcomes, key=self._started.__getitem__)
        for key in keys:
            del self._started[key]
            opened = self._owner[key]
            if key in opened.ahead:
                opened.ahead[key] = outcomes[key]
                del self._owner[key]
        for key in keys:
            if key in self._owner:
                opened = self._owner.pop(key)
                opened.missing -= 1
                self._give(opened, key, outcomes[key])
                if opened.missing == 0:
                    self._advance(opened, [self._outcomes.pop(key) for key in opened.keys])

    def _give(self, opened: _Open[T], key: str, outcome: Outcome) -> None:
        """Put an outcome where its task will find it, and count it."""
        self._outcomes[key] = outcome
        meter, before = self.meter, (self.meter.fresh_draws, self.meter.fresh_tokens)
        meter.count(outcome)
        if isinstance(outcome, Attempt):
            opened.draws += 1
            meter.reached[opened.draws] += 1
        if key in self._old:
            self._old.remove(key)
            meter.recalled += 1
            meter.recalled_draws += meter.fresh_draws - before[0]
            meter.recalled_tokens += meter.fresh_tokens - before[1]

    def _record(self, outcomes: Mapping[str, Outcome]) -> None:
        # What could not be served is asked for again by a rerun: the reason may have passed.
        lasting = {key: outcome for key, outcome in outcomes.items() if not isinstance(outcome, Failure)}
        if lasting and self._journal is not None:
            self._journal.record(lasting)


def draw(key: str, prompt_ids: Sequence[int], run_seed: int, max_tokens: int) -> Draw:
    """A draw whose own seed follows from the run's seed and its key."""
    from hashlib import blake2b

    digest = blake2b(f"{run_seed}/{key}".encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return Draw(key, tuple(prompt_ids), int.from_bytes(digest, "big") & 0x7FFFFFFF, max_tokens)


def _tokens(outcome: Outcome) -> int:
    return (outcome.tokens or 0) if isinstance(outcome, Attempt | Dropped) else 0


_END = object()
_DONE: Future[Any] = Future()
_DONE.set_result(None)
