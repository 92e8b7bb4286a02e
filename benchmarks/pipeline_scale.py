"""Read, schedule, journal, write with an engine that answers at once: peak memory and rows a second.

Runs ten thousand rows and a million (or --rows) in a process each and prints the ratio of their peaks.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, ClassVar

from mindgap_data.engines import Completion, Draw, Recalled, Request, Result, Sampling, Score, Scores
from mindgap_data.engines.open import EngineSettings, Policy
from mindgap_data.policy.models import ModelSpec
from mindgap_data.record import TIERS
from mindgap_data.rewrite.guided import GuidedPrompt
from mindgap_data.rewrite.job import RewriteJob, RewriteRequest
from mindgap_data.rewrite.stages import RewriteOptions
from mindgap_data.rows.inputs import InputRows
from mindgap_data.rows.shapes import Fields
from mindgap_data.rows.sources import open_source
from mindgap_data.run.job import RunFiles, RunOptions, execute
from mindgap_data.verify.settings import VerifierSettings


class Letters:
    """A tokenizer of single characters: as little work as a tokenizer can be."""

    end_ids = (0,)
    vocabulary = 0x110000
    fingerprint = template = "letters"
    arguments: ClassVar[dict[str, Any]] = {}
    expert_thinking = note = None

    def prompt_ids(self, messages: Sequence[dict[str, Any]], tools: Any = None) -> tuple[int, ...]:
        """Character codes."""
        return tuple(map(ord, messages[-1]["content"]))

    def response_ids(self, text: str) -> tuple[int, ...]:
        """Character codes and the end."""
        return (*map(ord, text), 0)

    def decode(self, ids: Sequence[int]) -> str:
        """Characters."""
        return "".join(map(chr, ids))

    def demonstration_ids(self, text: str, thought: str | None = None) -> tuple[int, ...]:
        """The same."""
        return self.response_ids(text)

    def lacks_thought(self, text: str, thought: str | None) -> bool:
        """Never."""
        return False

    def turn(self, ids: Sequence[int]) -> dict[str, str]:
        """Characters before the end, as a turn."""
        return {"role": "assistant", "content": self.response_text(ids)}

    def response_text(self, ids: Sequence[int]) -> str:
        """Characters before the end."""
        return self.decode(ids[:-1] if ids and ids[-1] == 0 else ids)


class StubEngine:
    """Answers every draw with a right answer and every score with zeros, at once."""

    name, max_context, slots, capacity, sampling = "stub", 4096, 128, 256, Sampling()
    exact = False
    idle_steps = 0
    occupancy: float | None = None
    revision: str | None = None
    dtype: str | None = None

    def __init__(self) -> None:
        self.tokenizer: Any = Letters()
        self._ready: list[tuple[Request, Result]] = []

    @property
    def in_flight(self) -> int:
        """Answers not yet collected."""
        return len(self._ready)

    def pick(self, pending: Sequence[Request]) -> list[Request]:
        """All of them."""
        return list(pending)

    def submit(self, requests: Sequence[Request | Recalled]) -> None:
        """Answer them."""
        ids = (ord("4"), ord("2"), 0)
        for request in requests:
            if isinstance(request, Draw):
                self._ready.append((request, Completion(ids, (-0.5, -0.5, -0.5), "stop")))
            elif isinstance(request, Score):
                self._ready.append((request, Scores((-0.5,) * len(request.response_ids))))

    def collect(self, checks: Collection[Future[Any]] = ()) -> list[tuple[Request, Result]]:
        """The answers."""
        ready, self._ready = self._ready, []
        return ready

    def cancel(self, keys: Collection[str]) -> int:
        """Too late for any."""
        return 0

    def close(self) -> None:
        """Nothing to free."""


def run(rows: int) -> None:
    """One run; prints rows a second and peak memory as JSON."""
    engine = StubEngine()
    with tempfile.TemporaryDirectory() as folder, VerifierSettings().pool() as verifier:
        source = Path(folder) / "in.jsonl"
        with source.open("w") as file:
            for n in range(rows):
                file.write(f'{{"id":"row-{n}","prompt":"What is {n}?","completion":"42","answer":"42"}}\n')
        request = RewriteRequest(
            rows=InputRows(open_source(str(source)), Fields()),
            policy=Policy(ModelSpec(), EngineSettings()),
            sampling=Sampling(),
            verifier=VerifierSettings(),
            options=RewriteOptions(TIERS, 4, "first", (GuidedPrompt(),), score_expert=False, seed=0),
        )
        began = time.perf_counter()
        options = RunOptions(RunFiles.beside(Path(folder) / "out.jsonl"), quiet=True)
        execute(RewriteJob(request, engine), engine, verifier, options)
        seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": rows, "rows_per_second": round(rows / seconds), "peak_mib": round(peak, 1)}))


def main() -> None:
    """Both sizes, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        run(arguments.one)
        return
    peaks = []
    for rows in (10_000, arguments.rows):
        done = subprocess.run(
            [sys.executable, __file__, "--one", str(rows)], capture_output=True, text=True, check=True
        )
        print(done.stdout.strip())
        peaks.append(json.loads(done.stdout)["peak_mib"])
    print(f"peak memory ratio {peaks[1] / peaks[0]:.2f}")


if __name__ == "__main__":
    main()
