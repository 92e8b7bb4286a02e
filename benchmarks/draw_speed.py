"""Tokens a second of the transformers engine against drawing whole batches with `generate`, in one run.

Two jobs of the built-in model: sums at temperature 0.7, where most responses end long before
their cap, and the same prompts without an end-of-turn token, where every row runs to its cap. The old way
is written out below: a batch is padded, runs until its longest row ends, and then the next one begins.
`--vllm PYTHON` adds vLLM's engine, run by the interpreter of an environment that has it.
"""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any

from mindgap_data.engines import Completion, Draw, Engine, Sampling
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.policy.models import ModelSpec, load_tokenizer, resolve_model_path

SAMPLING = Sampling(temperature=0.7)

Drawn = dict[str, tuple[int, ...]]


def requests(tokenizer: ChatTokenizer, rows: int, cap: int) -> list[Draw]:
    """One draw of each of ``rows`` sums."""
    sums = [f"What is {1 + n % 9} + {1 + n // 9 % 9}? Answer with one number." for n in range(rows)]
    prompts = [tokenizer.prompt_ids([{"role": "user", "content": problem}]) for problem in sums]
    return [Draw(str(n), prompt, n, cap) for n, prompt in enumerate(prompts)]


def whole_batches(model: Any, draws: Sequence[Draw], end_ids: Sequence[int], size: int) -> Drawn:
    """The old way: `generate` on batches of similar length, each until its longest row ends."""
    import numpy as np
    import torch
    from transformers import GenerationConfig, LogitsProcessorList, TemperatureLogitsWarper

    drawn: Drawn = {}
    order = sorted(draws, key=lambda draw: len(draw.prompt_ids))
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        width = max(len(draw.prompt_ids) for draw in batch)
        ids = torch.tensor([[0] * (width - len(draw.prompt_ids)) + list(draw.prompt_ids) for draw in batch])
        mask = torch.tensor([[0] * (width - len(draw.prompt_ids)) + [1] * len(draw.prompt_ids) for draw in batch])
        cap = max(draw.max_tokens for draw in batch)
        uniforms = np.stack([np.random.Generator(np.random.Philox(draw.seed)).random(cap) for draw in batch], axis=1)
        taken: list[Any] = []

        def sample(_ids: Any, scores: Any, taken: list[Any] = taken, uniforms: Any = uniforms) -> Any:
            logprobs = torch.log_softmax(scores.float(), dim=-1)
            cumulative = torch.cumsum(logprobs.double().exp(), dim=-1)
            threshold = torch.from_numpy(uniforms[len(taken)])[:, None] * cumulative[:, -1:]
            token = torch.searchsorted(cumulative, threshold, right=True).clamp_(max=scores.shape[-1] - 1)
            taken.append(token[:, 0])
            logprobs.gather(1, token)
            return torch.full_like(scores, float("-inf")).scatter_(1, token, 0.0)

        config = GenerationConfig(
            do_sample=False, max_new_tokens=cap, eos_token_id=list(end_ids) or None, pad_token_id=0, use_cache=True
        )
        with torch.inference_mode():
            model.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=config,
                logits_processor=LogitsProcessorList([TemperatureLogitsWarper(SAMPLING.temperature), sample]),
            )
        for draw, row in zip(batch, torch.stack(taken, 1).tolist(), strict=True):
            end = next((i + 1 for i, token in enumerate(row) if token in end_ids), len(row))
            drawn[draw.key] = tuple(row[: min(end, draw.max_tokens)])
    return drawn


def through(engine: Engine, draws: Sequence[Draw]) -> Drawn:
    """By an engine's own interface."""
    pending, drawn = list(draws), Drawn()
    while pending or engine.in_flight:
        batch = engine.pick(pending)
        started = {request.key for request in batch}
        pending = [draw for draw in pending if draw.key not in started]
        engine.submit(batch)
        for request, result in engine.collect():
            assert isinstance(result, Completion)
            drawn[request.key] = result.token_ids
    return drawn


def timed(run: Callable[[], Drawn]) -> tuple[float, int, Drawn]:
    """Seconds, tokens, and what was drawn."""
    began = time.perf_counter()
    drawn = run()
    return time.perf_counter() - began, sum(map(len, drawn.values())), drawn


def vllm_side(rows: int, cap: int) -> None:
    """Run in vLLM's environment: the mixed job, one JSON line."""
    from mindgap_data.engines.vllm import VllmEngine

    spec = ModelSpec()
    tokenizer = load_tokenizer(spec)
    engine = VllmEngine(
        resolve_model_path(spec.model), tokenizer=tokenizer, sampling=SAMPLING, adapter=None, revision=None,
        max_context=1024, dtype=None, seed=0, engine_args={},
    )  # fmt: skip
    through(engine, requests(tokenizer, 2, 8))  # the first step compiles
    seconds, tokens, _ = timed(lambda: through(engine, requests(tokenizer, rows, cap)))
    print(json.dumps({"seconds": seconds, "tokens": tokens}))
    engine.close()


def main() -> None:
    """Run every side and print tokens a second and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=144)
    parser.add_argument("--cap", type=int, default=96)
    parser.add_argument("--capped-rows", type=int, default=48)
    parser.add_argument("--slots", type=int, default=48)
    parser.add_argument("--vllm", metavar="PYTHON", help="interpreter of an environment with vLLM")
    parser.add_argument("--vllm-side", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.vllm_side:
        vllm_side(arguments.rows, arguments.cap)
        return
    from mindgap_data.engines.slots import Slots
    from mindgap_data.engines.transformers import TransformersEngine
    from mindgap_data.policy.models import load_model

    spec = ModelSpec()
    tokenizer = load_tokenizer(spec)
    model = load_model(spec)
    engine = TransformersEngine(
        spec, tokenizer=tokenizer, sampling=SAMPLING, max_context=None, batch_size=arguments.slots
    )
    mixed = requests(tokenizer, arguments.rows, arguments.cap)
    old_seconds, old_tokens, old = timed(lambda: whole_batches(model, mixed, tokenizer.end_ids, arguments.slots))
    new_seconds, new_tokens, new = timed(lambda: through(engine, mixed))
    old_speed, new_speed = old_tokens / old_seconds, new_tokens / new_seconds
    same = sum(old[key] == new[key] for key in old)
    busy = "" if engine.occupancy is None else f", {engine.occupancy:.0%} of the slots busy until none waited"
    print(f"mixed lengths: {len(mixed)} draws, cap {arguments.cap}, mean {new_tokens / len(mixed):.0f} tokens")
    print(f"  whole batches {old_seconds:.1f} s, {old_speed:.1f} tokens/s")
    print(f"  slots         {new_seconds:.1f} s, {new_speed:.1f} tokens/s{busy}")
    print(f"  ratio {new_speed / old_speed:.2f}; {same} of {len(old)} draws are the same")
    if arguments.vllm:
        command = [arguments.vllm, __file__, "--vllm-side", "--rows", str(arguments.rows), "--cap", str(arguments.cap)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
        theirs = json.loads(done.stdout.splitlines()[-1])
        speed = theirs["tokens"] / theirs["seconds"]
        print(f"  vLLM          {theirs['seconds']:.1f} s, {speed:.1f} tokens/s")
        print(f"  ratio to vLLM {new_speed / speed:.2f}")

    engine._drawing = Slots(engine.model, SAMPLING, (), arguments.slots)
    capped = requests(tokenizer, arguments.capped_rows, arguments.cap)
    old_seconds, _, _ = timed(lambda: whole_batches(model, capped, (), arguments.slots))
    new_seconds, _, _ = timed(lambda: through(engine, capped))
    print(f"all to the cap: {len(capped)} draws of {arguments.cap} tokens")
    print(f"  whole batches {old_seconds:.1f} s, slots {new_seconds:.1f} s, ratio {old_seconds / new_seconds:.2f}")


if __name__ == "__main__":
    main()
