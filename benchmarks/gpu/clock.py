"""Seconds and peak memory of work on the device."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Cost:
    """Of one piece of work."""

    seconds: float
    peak: int | None  # bytes allocated beyond what was there before; None on a CPU, where it cannot be read


def cost_of(work: Callable[[], object], device: str, repeats: int) -> Cost:
    """Median seconds and largest peak over some repetitions, after one to warm up."""
    work()
    costs = [_once(work, device) for _ in range(repeats)]
    peaks = [cost.peak for cost in costs if cost.peak is not None]
    return Cost(statistics.median(cost.seconds for cost in costs), max(peaks) if peaks else None)


def wait(device: str) -> None:
    """Until the device has done all it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def _once(work: Callable[[], object], device: str) -> Cost:
    before = 0
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    wait(device)
    began = time.perf_counter()
    work()
    wait(device)
    seconds = time.perf_counter() - began
    return Cost(seconds, torch.cuda.max_memory_allocated() - before if device == "cuda" else None)
