"""Progress of a run: a live line on a terminal, a plain line now and then elsewhere; to standard error."""

import sys
import time
from collections import Counter
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mindgap_data.run.outcomes import Meter

PLAIN_SECONDS = 15.0


class RunProgress:
    """Shows rows, labels (tiers, say), tokens a second and the time left."""

    def __init__(self, what: str, total: int | None, quiet: bool = False) -> None:
        self._what, self._total = what, total
        self._labels: Counter[str] = Counter()
        self._rows = 0
        self._began = self._told = time.monotonic()
        self._bar: Progress | None = None
        self._plain = not quiet
        console = Console(stderr=True)
        if console.is_terminal and not quiet:
            self._plain = False
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[detail]}"),
                TimeRemainingColumn(),
                console=console,
            )
            self._task = self._bar.add_task(what, total=total, detail="")

    def __enter__(self) -> "RunProgress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def row(self, label: str, meter: Meter) -> None:
        """One more row is done."""
        self._rows += 1
        self._labels[label] += 1
        if self._bar is not None:
            self._bar.update(self._task, completed=self._rows, detail=self._detail(meter))
        elif self._plain and time.monotonic() - self._told >= PLAIN_SECONDS:
            self._told = time.monotonic()
            of = f"/{self._total}" if self._total is not None else ""
            print(
                f"{self._what}: {self._rows}{of} rows, {self._detail(meter)}{self._left()}", file=sys.stderr, flush=True
            )

    def _detail(self, meter: Meter) -> str:
        labels = " ".join(f"{name} {count}" for name, count in sorted(self._labels.items()))
        rate = meter.fresh_tokens / max(time.monotonic() - self._began, 1e-9)
        return f"{labels}, {rate:,.0f} tokens/s"

    def _left(self) -> str:
        # The first rows say little: they are the ones that needed no retry.
        if not self._total or self._rows < self._total / 20:
            return ""
        seconds = (time.monotonic() - self._began) / self._rows * max(self._total - self._rows, 0)
        return f", {seconds:,.0f} s left"
