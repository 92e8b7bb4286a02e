"""The scheduler's time against the ideal, on a simulated engine: rows x slots of 32 x 16, 400 x 64 and 2,000 x 64.

The clock is simulated: every step of the engine takes one tick, a draw as many ticks as it has tokens (log-normal:
short answers with median 16 and cap 96, reasoning with median 250 and cap 2,048). A verdict takes as long as was
measured of `math`: 20 ms on average, 234 ms in a hundredth of the cases, 5 s in a thousandth. A row draws up to four
times plain and four times guided, one after the other, and ends at its first correct draw.

The ideal is the larger of two bounds: all tokens that are needed over the slots, and the longest row's draws and
verdicts one after the other. Draws begun ahead in free slots can beat the second bound; what they cost is printed.
The ideal also knows how long every draw will be. What not knowing it costs is printed beside: the same draws, each
put into the first free slot, where none waits for a verdict or for another draw.
"""

import argparse
import heapq
import math
import random
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from mindgap_data.engines import PATIENCE, Completion, Draw, Recalled, Request, Result, Sampling
from mindgap_data.run.outcomes import Attempt
from mindgap_data.run.scheduler import Ask, Scheduler, Steps, Task
from mindgap_data.verify import Verdict

SIZES = ((32, 16), (400, 64), (2000, 64))
STAGES, ATTEMPTS = 2, 4
LENGTHS = {"short answers": (16, 96), "reasoning": (250, 2048)}  # median and cap, tokens


class Truth:
    """How long each draw is, whether it is right, and how long its check takes: functions of its key alone."""

    def __init__(self, seed: int, median: int, cap: int, step_ms: float = 25) -> None:
        self._seed, self._median, self._cap, self._step_ms = seed, median, cap, step_ms

    def of(self, key: str) -> tuple[int, bool, int]:
        """(tokens, right, ticks of the check)."""
        chance = random.Random(f"{self._seed}/{key}")
        easy = random.Random(f"{self._seed}/{key.split('/')[0]}").random()
        tokens = min(self._cap, max(1, round(self._median * math.exp(0.8 * chance.gauss(0, 1)))))
        rank = chance.random()
        milliseconds = 5000 if rank < 0.001 else 234 if rank < 0.01 else chance.expovariate(1 / 20)
        return tokens, chance.random() < easy**2, round(milliseconds / self._step_ms)


class Keys:
    """A tokenizer whose tokens are the number of their draw, and whose text is the draw's key."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def response_text(self, ids: Sequence[int]) -> str:
        """The key, for the checker to find the truth by."""
        return self.keys[ids[0]]


class SimulatedEngine:
    """Slots on a simulated clock; checks run beside them and end in ticks, too."""

    name, max_context, sampling = "simulated", 4096, Sampling()
    occupancy: float | None = None
    revision: str | None = None
    dtype: str | None = None

    def __init__(self, truth: Truth, slots: int, exact: bool) -> None:
        self.truth, self.slots, self.exact = truth, slots, exact
        self.capacity = 4 * slots
        self.tokenizer: Any = Keys()
        self.now = self.idle_steps = 0
        self._waiting: list[Draw] = []
        self._running: dict[str, tuple[int, Draw]] = {}  # when each ends
        self._checks: list[tuple[int, int, Future[Verdict], Verdict]] = []

    @property
    def in_flight(self) -> int:
        """Draws in slots and waiting; with none, one while a check runs, so that the clock goes on."""
        return len(self._waiting) + len(self._running) or bool(self._checks and not self.exact)

    def pick(self, pending: Sequence[Request]) -> list[Request]:
        """As the transformers engine does: as many again as there are slots."""
        return list(pending[: max(0, 2 * self.slots - self.in_flight)])

    def submit(self, requests: Sequence[Request | Recalled]) -> None:
        """Queue them."""
        self._waiting += [request for request in requests if isinstance(request, Draw)]
        self._fill()

    def collect(self, checks: Collection[Future[Any]] = ()) -> list[tuple[Request, Result]]:
        """Let the clock run until a draw ends or, where it matters, a check does."""
        ends = min((end for end, _ in self._running.values()), default=10**12)
        if checks and self.exact and len(self._running) < self.slots:
            free = self.slots - len(self._running)
            ends = min(ends, self.now + -(-PATIENCE * len(self._running) // free))
        if checks and not self.exact and self._checks:
            ends = min(ends, self._checks[0][0])
        self.idle_steps += (self.slots - len(self._running)) * (ends - self.now)
        self._run_to(ends)
        done = [draw for end, draw in self._running.values() if end <= self.now]
        for draw in done:
            del self._running[draw.key]
        self._fill()
        return [(draw, self._completion(draw)) for draw in done]

    def cancel(self, keys: Collection[str]) -> int:
        """Empty their slots."""
        tokens = sum(self.truth.of(key)[0] - (end - self.now) for key, (end, _) in self._running.items() if key in keys)
        self._running = {key: value for key, value in self._running.items() if key not in keys}
        self._waiting = [draw for draw in self._waiting if draw.key not in keys]
        self._fill()
        return tokens

    def close(self) -> None:
        """Nothing to free."""

    def check(self, key: str) -> "Waited":
        """Start a check; waiting for it lets the clock run while the slots stand still."""
        _, right, ticks = self.truth.of(key)
        verdict = Waited(self, self.now + ticks)
        heapq.heappush(
            self._checks, (self.now + ticks, id(verdict), verdict, Verdict.CORRECT if right else Verdict.WRONG)
        )
        self._run_to(self.now)
        return verdict

    def wait_until(self, when: int) -> None:
        """An engine that waits for a verdict does not step."""
        pause = max(0, when - self.now)
        self._running = {key: (end + pause, draw) for key, (end, draw) in self._running.items()}
        self._run_to(when)

    def _completion(self, draw: Draw) -> Completion:
        self.tokenizer.keys.append(draw.key)
        return Completion((len(self.tokenizer.keys) - 1,) * self.truth.of(draw.key)[0], (), "stop")

    def _run_to(self, when: int) -> None:
        self.now = max(self.now, when)
        while self._checks and self._checks[0][0] <= self.now:
            _, _, future, verdict = heapq.heappop(self._checks)
            future.set_result(verdict)

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self.slots:
            draw = self._waiting.pop(0)
            self._running[draw.key] = (self.now + self.truth.of(draw.key)[0], draw)


class Waited(Future[Verdict]):
    """A verdict on the simulated clock."""

    def __init__(self, engine: SimulatedEngine, when: int) -> None:
        super().__init__()
        self._engine, self._when = engine, when

    def result(self, timeout: float | None = None) -> Verdict:
        """The verdict; time passes until it is there."""
        if not self.done():
            self._engine.wait_until(self._when)
        return super().result(timeout)


class Checker:
    """Stands for the pool of checkers."""

    def __init__(self, engine: SimulatedEngine) -> None:
        self._engine = engine

    def submit(self, response: str, answer: str, row: Mapping[str, Any]) -> Future[Verdict]:
        """Start the check of the draw with this key."""
        return self._engine.check(response)


def steps(row: int) -> Steps[int]:
    """A row's draws; returns their tokens."""
    total = 0
    for stage in range(STAGES):
        draws = [Draw(f"{row}/{stage}/{n}", (row,), 0, 1) for n in range(ATTEMPTS)]
        for n, one in enumerate(draws):
            (outcome,) = yield Ask([one], later=draws[n + 1 :])
            assert isinstance(outcome, Attempt)
            total += outcome.tokens
            if outcome.verdict == "correct":
                return total
    return total


def critical_path(truth: Truth, row: int) -> int:
    """Ticks of a row's draws and checks one after the other."""
    ticks = 0
    for stage in range(STAGES):
        for n in range(ATTEMPTS):
            tokens, right, check = truth.of(f"{row}/{stage}/{n}")
            ticks += tokens + check
            if right:
                return ticks
    return ticks


def needed_draws(truth: Truth, row: int) -> list[int]:
    """The lengths of a row's draws up to its first correct one."""
    lengths = []
    for stage in range(STAGES):
        for n in range(ATTEMPTS):
            tokens, right, _ = truth.of(f"{row}/{stage}/{n}")
            lengths.append(tokens)
            if right:
                return lengths
    return lengths


def unknown_lengths(truth: Truth, rows: int, slots: int) -> float:
    """The time over the ideal when every draw can start at once and takes the first slot that is free."""
    draws = [tokens for row in range(rows) for tokens in needed_draws(truth, row)]
    ends = [0] * slots
    for tokens in draws:
        heapq.heapreplace(ends, ends[0] + tokens)
    return max(ends) / max(sum(draws) / slots, max(critical_path(truth, row) for row in range(rows)))


def simulate(truth: Truth, rows: int, slots: int, exact: bool) -> tuple[float, float]:
    """The time over the ideal, and the tokens begun ahead in vain over those needed."""
    engine = SimulatedEngine(truth, slots, exact)
    scheduler = Scheduler[int](engine, Checker(engine))  # type: ignore[arg-type]
    needed = sum(scheduler.run(Task(steps(row), "", {}) for row in range(rows)))
    ideal = max(needed / slots, max(critical_path(truth, row) for row in range(rows)))
    return engine.now / ideal, scheduler.meter.ahead_tokens / needed


def main() -> None:
    """Every size by both kinds of engine, several seeds each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--step-ms", type=float, default=25, help="a step's time: 25 ms on a GPU, 250 on two processors"
    )
    arguments = parser.parse_args()
    for name, (median, cap) in LENGTHS.items():
        truths = [Truth(seed, median, cap, arguments.step_ms) for seed in range(arguments.seeds)]
        print(f"{name}, median {median} tokens, cap {cap}:")
        for rows, slots in SIZES:
            for exact in (True, False):
                runs = [simulate(truth, rows, slots, exact) for truth in truths]
                worst, mean = max(ratio for ratio, _ in runs), sum(ratio for ratio, _ in runs) / len(runs)
                extra = sum(share for _, share in runs) / len(runs)
                kind = "in order of ending (transformers)" if exact else "as verdicts come (vLLM, servers)"
                print(f"{rows:>6} x {slots}, {kind}: {mean:.3f} of the ideal, worst {worst:.3f}; {extra:.1%} in vain")
            blind = sum(unknown_lengths(truth, rows, slots) for truth in truths) / len(truths)
            print(f"{rows:>6} x {slots}, no draw waits for a verdict or another draw: {blind:.3f} of the ideal")


if __name__ == "__main__":
    main()
