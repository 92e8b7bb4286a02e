"""What `rewrite` costs over its engine: the whole run's time against the time spent in the engine.

Prints one ratio: seconds of read, schedule, verify, journal and write with the engine, over the engine's alone.
"""

import argparse
import tempfile
import time
from collections.abc import Collection
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from mindgap_data.engines import Request, Result, Sampling
from mindgap_data.engines.open import EngineSettings, Policy
from mindgap_data.engines.transformers import TransformersEngine
from mindgap_data.policy.models import ModelSpec, load_tokenizer
from mindgap_data.record import TIERS
from mindgap_data.rewrite.guided import GuidedPrompt
from mindgap_data.rewrite.job import RewriteJob, RewriteRequest
from mindgap_data.rewrite.stages import RewriteOptions
from mindgap_data.rows.inputs import InputRows
from mindgap_data.rows.shapes import Fields
from mindgap_data.rows.sources import open_source
from mindgap_data.run.job import RunFiles, RunOptions, execute
from mindgap_data.verify.settings import VerifierSettings

PROBLEMS = Path(__file__).parents[1] / "recipes/data/word_problems.jsonl"


class TimedEngine(TransformersEngine):
    """The engine, counting the seconds spent in it."""

    seconds = 0.0

    def collect(self, checks: Collection[Future[Any]] = ()) -> list[tuple[Request, Result]]:
        """Do, and count."""
        began = time.perf_counter()
        results = super().collect(checks)
        self.seconds += time.perf_counter() - began
        return results


def main() -> None:
    """Run both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--max-tokens", type=int, default=64)
    arguments = parser.parse_args()
    spec, sampling = ModelSpec(), Sampling(temperature=0.7, max_tokens=arguments.max_tokens)
    engine = TimedEngine(
        spec, tokenizer=load_tokenizer(spec), sampling=sampling, max_context=None, batch_size=arguments.rows
    )
    request = RewriteRequest(
        rows=InputRows(open_source(str(PROBLEMS)), Fields(), limit=arguments.rows),
        policy=Policy(spec, EngineSettings()),
        sampling=sampling,
        verifier=VerifierSettings(),
        options=RewriteOptions(TIERS, 2, "first", (GuidedPrompt(),), score_expert=True, seed=0),
    )
    with tempfile.TemporaryDirectory() as folder, request.verifier.pool() as verifier:
        files = RunFiles.beside(Path(folder) / "out.jsonl")
        job = RewriteJob(request, engine)
        began = time.perf_counter()
        result = execute(job, engine, verifier, RunOptions(files, quiet=True))
        whole = time.perf_counter() - began
    tokens = result.meter.drawn_tokens + result.meter.scored_tokens
    print(f"{result.written} rows, {tokens:,} tokens drawn and scored")
    print(f"rewrite {whole:.1f} s, engine {engine.seconds:.1f} s, ratio {whole / engine.seconds:.3f}")


if __name__ == "__main__":
    main()
