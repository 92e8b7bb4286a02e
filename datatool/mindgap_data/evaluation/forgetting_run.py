"""Measures what fine-tuning cost: every policy draws and scores once, one model in memory at a time; resumable."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mindgap_data import __version__
from mindgap_data.engines import Engine, Sampling
from mindgap_data.engines.open import Policy, running_engine
from mindgap_data.errors import UserError
from mindgap_data.evaluation.benchmarks import Benchmark
from mindgap_data.evaluation.compare import compare, read_evaluation
from mindgap_data.evaluation.folder import evaluation_files, finished_summary
from mindgap_data.evaluation.forgetting import (
    OwnDrawsJob,
    ScoringJob,
    own_draws,
    own_samples,
    read_text_scores,
    text_items,
)
from mindgap_data.evaluation.scorecard import Scorecard, divergence, text_change
from mindgap_data.evaluation.texts import general_texts
from mindgap_data.policy.models import adapter_fingerprint, load_tokenizer
from mindgap_data.rewrite.records import policy_identity
from mindgap_data.run.job import Job, RunOptions, execute
from mindgap_data.verify.pool import VerifierPool
from mindgap_data.verify.settings import VerifierSettings


@dataclass(frozen=True)
class ForgettingRequest:
    """What is measured of every policy."""

    before: Policy
    after: tuple[str, ...]  # adapters on top of ``before``'s model, or models
    benchmarks: tuple[Benchmark, ...]  # instructions first
    samples: int
    max_tokens: int
    seed: int
    verifier: VerifierSettings
    folder: Path
    overwrite: bool = False
    restart: bool = False
    quiet: bool = False

    @property
    def sampling(self) -> Sampling:
        """The policy's own distribution: draws serve accuracy and KL alike."""
        return Sampling(max_tokens=self.max_tokens)


def measure_forgetting(request: ForgettingRequest) -> list[Scorecard]:
    """Draw, score and compare; every policy is loaded once, the one before last.

    Raises:
        UserError: a policy cannot be loaded or has another tokenizer; what was measured is kept for a rerun.
    """
    policies = [policy_after(request.before, name) for name in request.after]
    _refuse_other_tokenizers(request.before, policies)
    folders = [request.folder / f"after-{number}" for number in range(1, len(policies) + 1)]
    with request.verifier.pool() as pool:
        for policy, folder in zip(policies, folders, strict=True):
            with _running(policy, request) as engine:
                _measure(policy, engine, pool, folder, request)
        base = request.folder / "before"
        with _running(request.before, request) as engine:
            _measure(request.before, engine, pool, base, request)
            for folder in folders:
                items = [item for item, _ in own_draws(folder / "draws", engine.tokenizer)]
                settings = {**_settings(request.before, engine, request), "draws_of": folder.name}
                _execute(ScoringJob(items, settings, f"draws of {folder.name}"), engine, None, folder / "kl", request)
            return [_scorecard(name, base, folder, engine) for name, folder in zip(request.after, folders, strict=True)]


def policy_after(before: Policy, name: str) -> Policy:
    """The policy a user names: an adapter on top of the model before, or a model of its own."""
    adapter = (Path(name) / "adapter_config.json").is_file()
    changed: dict[str, Any] = {"adapter": name} if adapter else {"model": name, "revision": None, "adapter": None}
    return replace(before, spec=replace(before.spec, **changed))


def _running(policy: Policy, request: ForgettingRequest) -> Any:
    return running_engine(policy, request.sampling, seed=request.seed, quiet=request.quiet)


def _measure(policy: Policy, engine: Engine, pool: VerifierPool, folder: Path, request: ForgettingRequest) -> None:
    settings = _settings(policy, engine, request)
    draws = OwnDrawsJob(request.benchmarks, request.samples, request.seed, engine, settings)
    _execute(draws, engine, pool, folder / "draws", request)
    items = list(text_items(general_texts(), engine))
    _execute(ScoringJob(items, settings, "general texts"), engine, None, folder / "texts", request)


def _execute(
    job: Job[Any], engine: Engine, pool: VerifierPool | None, folder: Path, request: ForgettingRequest
) -> None:
    """Run a job, unless its folder holds what it would give."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: the folder cannot be made: {error.strerror}") from error
    if request.overwrite:
        evaluation_files(folder).summary.unlink(missing_ok=True)
    elif finished_summary(folder, job.settings) is not None:
        return
    execute(job, engine, pool, RunOptions(evaluation_files(folder), request.restart, request.quiet))


def _settings(policy: Policy, engine: Engine, request: ForgettingRequest) -> dict[str, Any]:
    """What must not change between a run and its continuation."""
    return {
        "tool_version": __version__,
        "benchmarks": {benchmark.name: benchmark.fingerprint for benchmark in request.benchmarks},
        "samples": request.samples,
        "sampling": request.sampling.as_dict(),
        "max_context": engine.max_context,
        "seed": request.seed,
        "verifier": request.verifier.name,
        "verifier_options": dict(request.verifier.options),
        **policy_identity(policy.spec, engine).model_dump(),
        "adapter_weights": adapter_fingerprint(policy.spec.adapter),
        "tokenizer": engine.tokenizer.fingerprint,
        "chat_template": engine.tokenizer.template,
    }


def _scorecard(name: str, base: Path, folder: Path, engine: Engine) -> Scorecard:
    texts = general_texts()
    change = text_change(read_text_scores(base / "texts", texts), read_text_scores(folder / "texts", texts))
    compared = compare(read_evaluation(base / "draws"), read_evaluation(folder / "draws"))
    tasks = tuple(task for task in compared if task.name != "average")
    samples = own_samples(own_draws(folder / "draws", engine.tokenizer), folder / "kl")
    return Scorecard(name, change, tasks, divergence(samples) if samples else None)


def _refuse_other_tokenizers(before: Policy, after: Sequence[Policy]) -> None:
    ours = load_tokenizer(before.spec)
    for policy in after:
        theirs = load_tokenizer(policy.spec)
        if theirs.fingerprint != ours.fingerprint:
            raise UserError(
                f"{policy.spec.model}: its tokenizer is {theirs.fingerprint}, that of {before.spec.model} is "
                f"{ours.fingerprint}: their log-probs per token cannot be compared"
            )
