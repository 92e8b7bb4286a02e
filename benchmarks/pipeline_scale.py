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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mindgap_data.engines import Completion, Draw, Request, Result, Sampling, Scores
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.rewrite.guided import GuidedPrompt
from mindgap_data.rewrite.job import OutputPaths, RewriteRun
from mindgap_data.rewrite.stages import Plan
from mindgap_data.rows.shapes import Fields
from mindgap_data.rows.sources import open_source
from mindgap_data.verify.pool import VerifierPool


class Letters:
    """A tokenizer of single characters: as little work as a tokenizer can be."""

    end_ids = (0,)

    def prompt_ids(self, messages: Sequence[dict[str, Any]]) -> tuple[int, ...]:
        """Character codes."""
        return tuple(map(ord, messages[-1]["content"]))

    def response_ids(self, text: str) -> tuple[int, ...]:
        """Character codes and the end."""
        return (*map(ord, text), 0)

    def decode(self, ids: Sequence[int]) -> str:
        """Characters."""
        return "".join(map(chr, ids))

    def response_text(self, ids: Sequence[int]) -> str:
        """Characters before the end."""
        return self.decode(ids[:-1] if ids and ids[-1] == 0 else ids)


class StubEngine:
    """Answers every draw with a right answer and every score with zeros, at once."""

    name, max_context, capacity, sampling = "stub", 4096, 256, Sampling()
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

    def submit(self, requests: Sequence[Request]) -> None:
        """Answer them."""
        ids = (ord("4"), ord("2"), 0)
        for request in requests:
            if isinstance(request, Draw):
                self._ready.append((request, Completion(ids, (-0.5, -0.5, -0.5), "stop")))
            else:
                self._ready.append((request, Scores((-0.5,) * len(request.response_ids))))

    def collect(self) -> list[tuple[Request, Result]]:
        """The answers."""
        ready, self._ready = self._ready, []
        return ready

    def close(self) -> None:
        """Nothing to free."""


def run(rows: int) -> None:
    """One run; prints rows a second and peak memory as JSON."""
    tokenizer: ChatTokenizer = Letters()  # type: ignore[assignment]
    engine = StubEngine()
    plan = Plan(
        tokenizer=tokenizer,
        sampling=Sampling(),
        stages=("self", "guided", "expert"),
        samples=4,
        picker="first",
        guided=GuidedPrompt(),
        max_context=4096,
        seed=0,
        score_expert=False,
        provenance={"sampling_distribution": "model"},
    )
    with tempfile.TemporaryDirectory() as folder, VerifierPool("math") as verifier:
        source = Path(folder) / "in.jsonl"
        with source.open("w") as file:
            for n in range(rows):
                file.write(f'{{"id":"row-{n}","prompt":"What is {n}?","completion":"42","answer":"42"}}\n')
        began = time.perf_counter()
        RewriteRun(
            source=open_source(str(source)),
            fields=Fields(),
            instruction=None,
            limit=None,
            plan=plan,
            engine=engine,
            verifier=verifier,
            paths=OutputPaths(Path(folder) / "out.jsonl"),
            settings={},
            quiet=True,
        ).execute()
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
