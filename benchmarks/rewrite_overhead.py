"""What `rewrite` costs over its engine: the whole command's run against the bare engine on the same batches.

Prints one ratio: seconds of read, schedule, verify, journal and write with the engine, over seconds of the
engine alone generating and scoring the very same batches afterwards.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mindgap_data.engines import Request, Sampling
from mindgap_data.engines.transformers import TransformersEngine
from mindgap_data.policy.models import ModelSpec, load_tokenizer
from mindgap_data.rewrite.guided import GuidedPrompt
from mindgap_data.rewrite.job import OutputPaths, RewriteRun
from mindgap_data.rewrite.stages import Plan
from mindgap_data.rows.shapes import Fields
from mindgap_data.rows.sources import open_source
from mindgap_data.verify.pool import VerifierPool

PROBLEMS = Path(__file__).parents[1] / "recipes/data/word_problems.jsonl"


class RecordingEngine(TransformersEngine):
    """The engine, keeping every batch it was given."""

    batches: list[list[Request]]

    def submit(self, requests: Sequence[Request]) -> None:
        """Keep the batch and take it."""
        self.batches.append(list(requests))
        super().submit(requests)


def main() -> None:
    """Run both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--max-tokens", type=int, default=64)
    arguments = parser.parse_args()
    spec, sampling = ModelSpec(), Sampling(temperature=0.7, max_tokens=arguments.max_tokens)
    engine = RecordingEngine(
        spec, tokenizer=load_tokenizer(spec), sampling=sampling, max_context=None, batch_size=arguments.rows
    )
    engine.batches = []
    plan = Plan(
        tokenizer=engine.tokenizer,
        sampling=sampling,
        stages=("self", "guided", "expert"),
        samples=2,
        picker="first",
        guided=GuidedPrompt(),
        max_context=engine.max_context,
        seed=0,
        score_expert=True,
        provenance={"sampling_distribution": "processed"},
    )
    with tempfile.TemporaryDirectory() as folder, VerifierPool("math") as verifier:
        run = RewriteRun(
            source=open_source(str(PROBLEMS)),
            fields=Fields(),
            instruction=None,
            limit=arguments.rows,
            plan=plan,
            engine=engine,
            verifier=verifier,
            paths=OutputPaths(Path(folder) / "out.jsonl"),
            settings={},
            quiet=True,
        )
        began = time.perf_counter()
        summary = run.execute()
        whole = time.perf_counter() - began
    batches, engine.batches = engine.batches, []
    began = time.perf_counter()
    for batch in batches:
        engine.submit(batch)
        engine.collect()
    bare = time.perf_counter() - began
    tokens = summary["drawn_tokens"] + summary["scored_tokens"]
    print(f"{summary['rows']} rows, {len(batches)} batches, {tokens:,} tokens drawn and scored")
    print(f"rewrite {whole:.1f} s, bare engine {bare:.1f} s, ratio {whole / bare:.3f}")


if __name__ == "__main__":
    main()
