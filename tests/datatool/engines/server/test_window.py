"""The window of requests in flight over simulated servers: time is counted, nothing is waited for."""

import heapq
import random

from mindgap_data.engines.server.window import MOST, START, STEP, Window

TIMEOUT = 600.0


class Simulated:
    """A server that runs ``capacity`` draws at full speed, more of them slower, and refuses those above ``limit``.

    Draws have random lengths, as real ones do. A draw's speed is the one at which it was started.
    """

    def __init__(self, window: Window, capacity: int, limit: int | None = None, token_seconds: float = 0.02) -> None:
        self.window, self.capacity, self.limit, self.token_seconds = window, capacity, limit, token_seconds
        self.now, self.rng = 0.0, random.Random(0)
        self.flying: list[tuple[float, float, int]] = []  # end, start, tokens
        self.refused = 0
        self.sizes: list[int] = []

    def run(self, draws: int, supply: int | None = None) -> None:
        """Answer ``draws``, keeping the window full, or at most ``supply`` requests out."""
        for _ in range(draws):
            while len(self.flying) < min(self.window.size, supply or MOST):
                if self.limit is not None and len(self.flying) >= self.limit:
                    self.refused += 1
                    self.window.strained(len(self.flying) + 1)
                    break
                tokens = 1 + int(self.rng.expovariate(1 / 200))
                slowdown = max(1.0, (len(self.flying) + 1) / self.capacity)
                end = self.now + tokens * self.token_seconds * slowdown
                heapq.heappush(self.flying, (end, self.now, tokens))
            end, start, tokens = heapq.heappop(self.flying)
            self.now = end
            self.window.answered(self.now, end - start, tokens)
            self.sizes.append(self.window.size)


def test_grows_until_the_server_gets_no_faster() -> None:
    server = Simulated(Window(None, TIMEOUT), capacity=256)
    server.run(40_000)
    late = server.sizes[20_000:]
    assert min(late) >= 192
    assert max(late) <= 256 + 3 * STEP


def test_stays_at_the_start_where_the_server_is_full_already() -> None:
    server = Simulated(Window(None, TIMEOUT), capacity=8)
    server.run(10_000)
    assert max(server.sizes) <= 3 * START  # a measurement of draws of random lengths is wrong now and then
    assert sum(server.sizes) / len(server.sizes) <= 1.5 * START


def test_refusals_halve_it_once_for_each_overload() -> None:
    server = Simulated(Window(None, TIMEOUT), capacity=1000, limit=20)
    server.run(2_000)
    assert server.sizes[0] == START // 2
    assert max(server.sizes[1_000:]) <= 30  # half as much again now and then, refused at once
    assert server.refused < 40


def test_what_was_sent_under_a_wider_window_does_not_halve_it_again() -> None:
    window = Window(None, TIMEOUT)
    for _ in range(24):
        window.strained(32)
    assert window.size == START // 2


def test_never_below_one() -> None:
    window = Window(None, TIMEOUT)
    for _ in range(10):
        window.strained(1)
    assert window.size == 1


def test_never_above_what_the_user_allows() -> None:
    server = Simulated(Window(40, TIMEOUT), capacity=1000)
    server.run(5_000)
    assert max(server.sizes) == 40
    assert Window(5, TIMEOUT).size == 5


def test_does_not_grow_while_too_few_requests_are_there_to_tell() -> None:
    server = Simulated(Window(None, TIMEOUT), capacity=1000)
    server.run(5_000, supply=20)
    assert set(server.sizes) == {START}


def test_does_not_grow_where_answers_come_near_their_time_limit() -> None:
    slow = Simulated(Window(None, TIMEOUT), capacity=1000, token_seconds=2.0)
    slow.run(5_000)
    assert set(slow.sizes) == {START}
