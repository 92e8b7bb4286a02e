"""What a user asks of an evaluation."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

from mindgap_data import __version__
from mindgap_data.engines import Engine, EngineIdentity, Sampling
from mindgap_data.engines.open import Policy, running_engine
from mindgap_data.evaluation.benchmarks import Benchmark
from mindgap_data.evaluation.job import EvaluationJob
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.policy.models import load_tokenizer
from mindgap_data.rewrite.records import policy_identity
from mindgap_data.rows.jsonl import dumps
from mindgap_data.rows.shapes import Fields
from mindgap_data.verify.pool import VerifierPool
from mindgap_data.verify.settings import VerifierSettings


@dataclass(frozen=True)
class EvaluationRequest:
    """Everything a user asks of an evaluation."""

    benchmarks: tuple[Benchmark, ...]
    protocol: str | None
    samples: int
    seed: int
    limit: int | None
    verifier: VerifierSettings
    sampling: Sampling
    fields: Fields
    instruction: str | None
    policy: Policy

    def pool(self) -> VerifierPool:
        """What checks the draws."""
        return self.verifier.pool()

    def engine(self, quiet: bool) -> AbstractContextManager[Engine]:
        """The policy in its engine."""
        return running_engine(self.policy, self.sampling, seed=self.seed, quiet=quiet)

    def tokenizer(self) -> ChatTokenizer:
        """The engine's, without the engine."""
        return load_tokenizer(self.policy.spec)

    def job(self, engine: EngineIdentity) -> EvaluationJob:
        """The job, once the engine is known."""
        return EvaluationJob(self.benchmarks, self.samples, self.seed, engine, self._settings(engine))

    def lines(self) -> Iterator[str]:
        """The problems, each as the numbers of its benchmark and of itself: every machine has the benchmarks."""
        for number, benchmark in enumerate(self.benchmarks):
            yield from (dumps([number, place]) for place in range(len(benchmark.problems)))

    def elsewhere(self) -> "EvaluationRequest":
        """The same: the problems are part of it."""
        return self

    def _settings(self, engine: EngineIdentity) -> dict[str, Any]:
        """What must not change between a run and its continuation."""
        return {
            "tool_version": __version__,
            "benchmarks": {benchmark.name: benchmark.fingerprint for benchmark in self.benchmarks},
            "fields": asdict(self.fields),
            "instruction": self.instruction,
            "limit": self.limit,
            "protocol": self.protocol,
            "samples": self.samples,
            "sampling": self.sampling.as_dict(),
            "max_context": engine.max_context,
            "seed": self.seed,
            "verifier": self.verifier.name,
            "verifier_options": dict(self.verifier.options),
            **policy_identity(self.policy.spec, engine).model_dump(),
            "tokenizer": engine.tokenizer.fingerprint,
            "chat_template": engine.tokenizer.template,
        }
