"""The transformers engine: what it draws and scores against an independent forward, and its tokens a second."""

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from benchmarks.gpu.clock import wait
from benchmarks.gpu.kit import Kit, Measure
from torch import Tensor

from mindgap_data.engines import Sampling
from mindgap_data.engines.transformers import TransformersEngine
from mindgap_data.evaluation.texts import instruction_prompts
from mindgap_data.gap.computations import StoredSample, drawn_samples, engine_logprobs
from mindgap_data.policy.models import ModelSpec, load_tokenizer

# Float32 on either side; what is left is the order of sums. Wrong positions or masks are off by whole nats.
LOG_PROBS = 2e-3  # nats
# The mean surprise of drawn tokens is the entropy, up to chance: a right engine passes 4 once in 16,000 seeds.
STANDARD_ERRORS = 4.0


def run(kit: Kit) -> Iterator[Measure]:
    """Correctness in float32, speed in the dtype that drawing runs in."""
    sizes = kit.sizes
    engine = open_engine(kit, "float32", max(4, sizes.compared // 2))
    samples = drawn_samples(engine, instruction_prompts(), sizes.compared, seed=0)
    scores = engine_logprobs(engine, samples)
    engine.close()
    plain = _independent(kit, samples)
    expected = [row.log_probs for row in plain]
    case = f"float32, {sum(len(sample.response_ids) for sample in samples)} drawn tokens"
    drawn = [sample.logprobs for sample in samples]
    yield Measure(case, "drawn against an independent forward", _largest(drawn, expected), "nats", LOG_PROBS)
    yield Measure(case, "scored against it", _largest(scores, expected), "nats", LOG_PROBS)
    yield Measure(case, "surprise against entropy", _surprise(plain), "standard errors", STANDARD_ERRORS)
    for slots in sizes.slots:
        yield Measure(f"{kit.dtype}, {slots} slots", "speed", _tokens_a_second(kit, slots), "tokens/s")


def open_engine(kit: Kit, dtype: str, slots: int) -> TransformersEngine:
    """The model in mindgap's engine, sampling at temperature 1."""
    spec = ModelSpec(str(kit.model), device=kit.device, dtype=dtype)
    sampling = Sampling(max_tokens=kit.sizes.draw_tokens)
    return TransformersEngine(
        spec, tokenizer=load_tokenizer(spec), sampling=sampling, max_context=None, batch_size=slots
    )


class _Row:
    """What an independent forward says of one response: full logits, one row, nothing cached."""

    def __init__(self, model: Any, sample: StoredSample) -> None:
        ids = torch.tensor([[*sample.prompt_ids, *sample.response_ids]], device=model.device)
        logits: Tensor = model(input_ids=ids, use_cache=False).logits[0]
        rows = logits[len(sample.prompt_ids) - 1 : -1].double().log_softmax(-1)
        self.log_probs = rows[torch.arange(len(rows)), torch.tensor(sample.response_ids)].tolist()
        self.entropy = float(-(rows.exp() * rows).sum())
        self.variance = float((rows.exp() * rows**2).sum() - ((rows.exp() * rows).sum(-1) ** 2).sum())


def _independent(kit: Kit, samples: Sequence[StoredSample]) -> list[_Row]:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(kit.model, dtype=torch.float32)
    model.to(kit.device).eval()
    with torch.inference_mode():
        return [_Row(model, sample) for sample in samples]


def _largest(found: Sequence[Sequence[float]], expected: Sequence[Sequence[float]]) -> float:
    rows = zip(found, expected, strict=True)
    return max(abs(a - b) for mine, theirs in rows for a, b in zip(mine, theirs, strict=True))


def _surprise(rows: Sequence[_Row]) -> float:
    """How far -sum log pi(y_t) is from the sum of the entropies, in standard errors of a true sample."""
    difference = sum(sum(row.log_probs) + row.entropy for row in rows)
    return float(abs(difference) / math.sqrt(sum(row.variance for row in rows)))


def _tokens_a_second(kit: Kit, slots: int) -> float:
    """Of twice as many draws as slots, so that slots are filled again."""
    engine = open_engine(kit, kit.dtype, slots)
    drawn_samples(engine, instruction_prompts(), slots, seed=1)
    wait(kit.device)
    began = time.perf_counter()
    samples = drawn_samples(engine, instruction_prompts(), 2 * slots, seed=2)
    wait(kit.device)
    seconds = time.perf_counter() - began
    engine.close()
    return sum(len(sample.response_ids) for sample in samples) / seconds
