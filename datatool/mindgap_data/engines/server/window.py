"""How many requests to keep in flight: more while that makes the server faster, half when it is strained."""

START = 32
MOST = 1000  # connections that the openai package keeps open at once
STEP = 32  # added at a time, or half the window where that is less

SETTLE = 1  # windows of answers after a change that are not measured: their requests ran beside fewer
MEASURE = 3  # windows of answers in a measurement
FULL = 0.8  # share of the window that was in use, below which a measurement tells nothing about the server
RISE = 0.4  # share of the growth that must come back as tokens per second
REST = 8  # measurements without a change before the next try


class Window:
    """Additive increase while throughput rises and answers stay well within their time, halved when refused.

    What is drawn does not depend on it: the seed of a draw is its own. It knows no clock, so that it can be simulated.
    """

    def __init__(self, most: int | None, timeout: float) -> None:
        """Begin with START requests.

        Args:
            most: never more than these; None for MOST.
            timeout: seconds after which a request is given up; answers slower than a quarter of it stop the growth.
        """
        self._most = most or MOST
        self._slow = timeout / 4
        self.size = min(START, self._most)
        self._before: tuple[int, float] | None = None  # the size this one has grown from, and its tokens a second
        self._rest = 0
        self._busy = self._slowest = 0.0
        self._settle()

    def answered(self, now: float, seconds: float, tokens: int) -> None:
        """An answer came in.

        Args:
            now: seconds on any clock.
            seconds: the request took.
            tokens: drawn for it.
        """
        if self._settling > 0:
            self._settling -= 1
            self._begin(now)
            return
        self._answers += 1
        self._tokens += tokens
        self._busy += seconds
        self._slowest = max(self._slowest, seconds)
        if self._answers >= MEASURE * self.size and now > self._since:
            # Little's law: the mean number in flight is the time all requests took over the time that passed.
            if self._busy >= FULL * self.size * (now - self._since):
                self._judge(self._tokens / (now - self._since))
            self._begin(now)

    def strained(self, flying: int) -> None:
        """The server refused a request for now (HTTP 429, 503) or let it time out.

        Args:
            flying: requests in flight. While they are more than the window, it has been halved for them already.
        """
        if flying > self.size:
            return
        self.size = max(1, self.size // 2)
        self._before, self._rest = None, REST
        self._settle()

    def _judge(self, rate: float) -> None:
        if self._rest > 0:
            self._rest -= 1
            return
        if self._before is not None:
            size, earlier = self._before
            if rate < earlier * (1 + RISE * (self.size / size - 1)):
                self.size, self._before, self._rest = size, None, REST
                self._settle()
                return
        if self.size < self._most and self._slowest < self._slow:
            self._before = (self.size, rate)
            self.size = min(self._most, self.size + max(1, min(STEP, self.size // 2)))
            self._settle()

    def _settle(self) -> None:
        self._settling = SETTLE * self.size
        self._begin(0.0)

    def _begin(self, now: float) -> None:
        self._since, self._answers, self._tokens = now, 0, 0
        self._busy = self._slowest = 0.0
