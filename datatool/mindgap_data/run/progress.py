"""Progress of a run: a live line on a terminal, a plain line now and then elsewhere; to standard error."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from mindgap_data.run.outcomes import Meter

PLAIN_SECONDS = 20.0
LIVE_SECONDS = 0.5
BAR_FROM = 80  # columns of a terminal; in a narrower one the figures need the room
TOLD_FROM = 0.05  # share of the rows finished before a time is promised


class RunProgress:
    """Tells how far a run is, from what its meter counts, whether or not rows come out meanwhile.

    It runs beside the work in a thread of its own: an output in input order may wait long for its first row.
    """

    def __init__(self, what: str, total: int | None, meter: Meter, quiet: bool = False) -> None:
        """Tell about ``what``, of ``total`` rows where that is known."""
        self._what, self._total, self._meter = what, total, meter
        self._labels: Counter[str] = Counter()
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._bar: Progress | None = None
        self._thread: threading.Thread | None = None
        console = Console(stderr=True)
        if quiet:
            return
        if console.is_terminal:
            detail = TextColumn("{task.fields[detail]}", table_column=Column(overflow="fold"))
            bar = [BarColumn()] if console.width >= BAR_FROM else []
            self._bar = Progress(TextColumn("{task.description}"), *bar, detail, console=console)
            self._task = self._bar.add_task(what, total=total, detail="")
        self._thread = threading.Thread(target=self._tell, name="mindgap-progress", daemon=True)

    def __enter__(self) -> "RunProgress":
        if self._bar is not None:
            self._bar.start()
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._bar is not None:
            self._bar.stop()

    def row(self, label: str) -> None:
        """One more row is written."""
        self._labels[label] += 1

    def _tell(self) -> None:
        while not self._stop.wait(PLAIN_SECONDS if self._bar is None else LIVE_SECONDS):
            text = status(self._meter, self._total, time.monotonic() - self._began, dict(self._labels))
            if self._bar is None:
                print(f"{self._what}: {text}", file=sys.stderr, flush=True)
            else:
                self._bar.update(self._task, completed=self._meter.rows, detail=text)


def status(meter: Meter, total: int | None, seconds: float, written: Mapping[str, int]) -> str:
    """One line on a run that has lasted ``seconds``: rows, what was written, draws, tokens, slots, the time left."""
    parts = [f"{meter.rows:,}{'' if total is None else f' of {total:,}'} rows finished"]
    if written:
        parts[0] += f" ({', '.join(f'{name} {count:,}' for name, count in sorted(written.items()))} written)"
    if meter.draws:
        parts.append(f"{meter.draws:,} draws")
    tokens = meter.drawn_tokens + meter.scored_tokens
    parts.append(f"{tokens:,} tokens ({meter.fresh_tokens / max(seconds, 1e-9):,.0f}/s)")
    if meter.draws:
        parts.append(f"{meter.busy} of {meter.slots} slots busy")
    left = seconds_left(meter, total, seconds)
    return ", ".join(parts) + ("" if left is None else f", about {_duration(left)} left")


def seconds_left(meter: Meter, total: int | None, seconds: float) -> float | None:
    """The time the work left will take at the pace so far; None while too few rows are finished to tell."""
    if not total or meter.rows < TOLD_FROM * total:
        return None
    if meter.fresh_draws:
        return draws_left(meter, total) * seconds / meter.fresh_draws
    return (total - meter.rows) * seconds / max(meter.rows, 1)


def draws_left(meter: Meter, total: int) -> float:
    """How many draws the rows that are not finished are expected to need yet.

    By a life table: of the rows that made an n-th draw, a known share went on after it. A row that has made
    n and goes on needs one more, and then, with the share that goes on after n + 1, what such a row needs.
    What comes after the deepest draw so far is not known and counts as nothing.
    """
    left = needs = 0.0
    for n in range(max(meter.reached, default=0), -1, -1):
        after = meter.reached[n + 1]
        needs = 1 + (needs * (1 - meter.ended[n + 1] / after) if after else 0.0)
        here = (meter.reached[n] if n else total) - meter.ended[n] - after
        left += max(0, here) * needs
    return left


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
