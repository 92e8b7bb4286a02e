"""Jobs for the benchmarks on a Ray cluster: many rows, and an engine that takes a fixed time for every batch."""

import time
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.pipeline_scale import Letters, StubEngine

from mindgap_data.engines import Engine, Request, Result, Sampling
from mindgap_data.engines.open import EngineSettings, Policy
from mindgap_data.policy.models import ModelSpec
from mindgap_data.record import TIERS
from mindgap_data.rewrite.guided import GuidedPrompt
from mindgap_data.rewrite.job import RewriteRequest
from mindgap_data.rewrite.stages import RewriteOptions
from mindgap_data.rows.inputs import InputRows
from mindgap_data.rows.shapes import Fields
from mindgap_data.rows.sources import open_source
from mindgap_data.verify.settings import VerifierSettings

BATCH = 16


class DelayedEngine(StubEngine):
    """Answers batches of :data:`BATCH` requests, each after ``delay`` seconds, as a busy GPU would."""

    slots, capacity = BATCH, 2 * BATCH

    def __init__(self, delay: float) -> None:
        super().__init__()
        self._delay = delay

    def pick(self, pending: Sequence[Request]) -> list[Request]:
        """As many as there is room for."""
        return list(pending[: self.capacity - self.in_flight])

    def collect(self, checks: Collection[Future[Any]] = ()) -> list[tuple[Request, Result]]:
        """The answers of one batch."""
        time.sleep(self._delay)
        batch, self._ready = self._ready[:BATCH], self._ready[BATCH:]
        return batch


@dataclass(frozen=True, kw_only=True)
class BenchmarkRequest(RewriteRequest):
    """A rewriting run over one of these engines."""

    delay: float  # seconds a batch; 0 answers at once

    def engine(self, quiet: bool) -> AbstractContextManager[Engine]:
        """The engine."""
        engine: Any = DelayedEngine(self.delay) if self.delay else StubEngine()
        return nullcontext(engine)

    def tokenizer(self) -> Any:
        """Of single characters."""
        return Letters()


def benchmark_request(source: Path, delay: float) -> BenchmarkRequest:
    """A run that draws once for every row of ``source``."""
    return BenchmarkRequest(
        rows=InputRows(open_source(str(source)), Fields()),
        policy=Policy(ModelSpec(device="cpu"), EngineSettings(batch_size=BATCH)),
        sampling=Sampling(),
        verifier=VerifierSettings("numeric", workers=1),
        options=RewriteOptions(TIERS, 4, "first", (GuidedPrompt(),), score_expert=False, seed=0),
        delay=delay,
    )


def write_source(path: Path, rows: int) -> Path:
    """So many short problems."""
    with path.open("w") as file:
        for n in range(rows):
            file.write(f'{{"id":"row-{n}","prompt":"What is {n}?","completion":"42","answer":"42"}}\n')
    return path
