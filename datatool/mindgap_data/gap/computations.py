"""The same ids scored by several computations of one policy: as stored, by the engine, by the trainer's forward."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mindgap_data.engines import Completion, Engine, Request, Result, Score, Scores
from mindgap_data.engines.logprobs import response_logprobs
from mindgap_data.errors import UserError
from mindgap_data.gap.noise import NoiseFloor, noise_floor
from mindgap_data.gap.records import read_gap_records
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.policy.models import ModelSpec, load_model
from mindgap_data.run.scheduler import draw


@dataclass(frozen=True)
class StoredSample:
    """A response, and the log-probs that are stored of it: nats, one per id."""

    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    logprobs: tuple[float, ...]


@dataclass(frozen=True)
class NoiseComparison:
    """One computation against another."""

    name: str
    floor: NoiseFloor


def recorded_samples(path: Path, count: int, seed: int, tokenizer: ChatTokenizer) -> list[StoredSample]:
    """``count`` rows of a rewritten file, an even sample: those the model drew at temperature 1, else any.

    Raises:
        UserError: a row is not a valid record, or is of another tokenizer.
    """
    own: list[StoredSample] = []
    rest: list[StoredSample] = []
    rng, seen = random.Random(seed), {True: 0, False: 0}
    for line, record in read_gap_records(path):
        if record.provenance.tokenizer != tokenizer.fingerprint:
            raise UserError(
                f"{path}:{line}: provenance.tokenizer is {record.provenance.tokenizer}, that of {tokenizer.name} is "
                f"{tokenizer.fingerprint}; name the model the file was made with"
            )
        # Where the policy has moved since it drew, only policy_logprobs are its own.
        moved = record.provenance.policy is not None
        drawn = record.tier == "self" and record.provenance.behavior == "model" and not moved
        stored = record.behavior_logprobs if drawn else record.policy_logprobs
        sample = StoredSample(
            tokenizer.prompt_ids([turn.model_dump() for turn in record.messages[:-1]], record.tools),
            tuple(record.response_token_ids),
            tuple(stored or ()),
        )
        _keep(own if drawn else rest, sample, count, seen[drawn], rng)
        seen[drawn] += 1
    return own or rest


def drawn_samples(engine: Engine, prompts: Sequence[str], count: int, seed: int) -> list[StoredSample]:
    """``count`` fresh draws of the policy, from the prompts in turn."""
    requests = []
    for number in range(count):
        prompt = engine.tokenizer.prompt_ids([{"role": "user", "content": prompts[number % len(prompts)]}])
        room = min(engine.sampling.max_tokens, engine.max_context - len(prompt))
        requests.append(draw(f"noise/{number}", prompt, seed, room))
    results = _serve(engine, requests)
    return [
        StoredSample(request.prompt_ids, found.token_ids, found.logprobs)
        for request in requests
        if isinstance(found := results[request.key], Completion)
    ]


def engine_logprobs(engine: Engine, samples: Sequence[StoredSample]) -> list[tuple[float, ...]]:
    """The samples scored by the drawing engine.

    Raises:
        UserError: it cannot score one of them.
    """
    results = _serve(engine, [Score(str(n), one.prompt_ids, one.response_ids) for n, one in enumerate(samples)])
    found = []
    for number in range(len(samples)):
        result = results[str(number)]
        if not isinstance(result, Scores):
            raise UserError(f"the engine cannot score a sample: {getattr(result, 'reason', result)}")
        found.append(result.logprobs)
    return found


def trainer_logprobs(
    spec: ModelSpec, dtype: str, samples: Sequence[StoredSample], batches: Sequence[int]
) -> list[list[list[float]]]:
    """The samples scored by the training-side forward (transformers, padded batches), once for each batch size."""
    import torch

    model = load_model(replace(spec, dtype=dtype))
    rows = [(sample.prompt_ids, sample.response_ids) for sample in samples]
    with torch.inference_mode():
        return [_in_batches(model, rows, size) for size in batches]


def compare_computations(
    samples: Sequence[StoredSample],
    by_engine: Sequence[Sequence[float]],
    by_trainer: tuple[Sequence[Sequence[float]], Sequence[Sequence[float]]],
    batch: int,
) -> list[NoiseComparison]:
    """The trainer against what is stored (the floor) first; then where the difference comes from.

    Args:
        samples: with the stored log-probs.
        by_engine: the engine's scores of them.
        by_trainer: the trainer's, row by row and ``batch`` rows at a time.
        batch: rows of the second.
    """
    stored = [sample.logprobs for sample in samples]
    single, batched = by_trainer
    return [
        NoiseComparison(f"trainer, {batch} rows at a time, against stored", noise_floor(batched, stored)),
        NoiseComparison("trainer, row by row, against stored", noise_floor(single, stored)),
        NoiseComparison("engine's scoring against stored", noise_floor(by_engine, stored)),
        NoiseComparison(f"trainer, {batch} rows at a time, against row by row", noise_floor(batched, single)),
    ]


def _keep(kept: list[StoredSample], sample: StoredSample, count: int, number: int, rng: random.Random) -> None:
    """Reservoir sampling (Vitter 1985): every sample has the same chance to be among the ``count`` kept."""
    if len(kept) < count:
        kept.append(sample)
    elif (slot := rng.randrange(number + 1)) < count:
        kept[slot] = sample


def _serve(engine: Engine, requests: Iterable[Request]) -> dict[str, Result]:
    """The results of some requests, by key."""
    pending, results = list(requests), {}
    while pending or engine.in_flight:
        started = engine.pick(pending)
        pending = [request for request in pending if request not in started]
        engine.submit(started)
        results.update({request.key: result for request, result in engine.collect()})
    return results


def _in_batches(model: Any, rows: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], size: int) -> list[list[float]]:
    return [
        values for start in range(0, len(rows), size) for values in response_logprobs(model, rows[start : start + size])
    ]
