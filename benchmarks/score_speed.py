"""`score` against the machine's own speed of matrix products, and against a row-at-a-time full-softmax script.

On a CPU scoring is bound by its matrix products, so the figure is the share of the rate a large product reaches
here. The script is what one writes first: each row alone, logits of every position, log-softmax over the whole
vocabulary in float32, then a gather. All run in this process on the same GSM8K-format rows.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mindgap_data.engines import Sampling, Score, Scores
from mindgap_data.engines.transformers import TransformersEngine
from mindgap_data.policy.models import ModelSpec, load_model, load_tokenizer
from mindgap_data.rows.problem import to_demonstration
from mindgap_data.rows.shapes import Fields
from mindgap_data.rows.sources import open_source


def needed_operations(model: Any, requests: Sequence[Score]) -> float:
    """Floating-point operations of the linear layers: a multiplication and an addition a weight and token.

    The output head is needed at response tokens alone.
    """
    from torch import nn

    head = model.get_output_embeddings()
    body = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear) and m is not head)
    tokens = sum(len(request.prompt_ids) + len(request.response_ids) for request in requests)
    responses = sum(len(request.response_ids) for request in requests)
    return float(2 * (body * tokens + head.weight.numel() * responses))


def product_rate(size: int = 2048) -> float:
    """GFLOP/s of a product of two large square float32 matrices, the best of five."""
    import torch

    left, right = torch.randn(size, size), torch.randn(size, size)
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - began)
    return 2.0 * size**3 / min(seconds) / 1e9


def main() -> None:
    """Run all and print the share, the ratio and the largest difference."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="rows in any input format, e.g. GSM8K's test.jsonl")
    parser.add_argument("--rows", type=int, default=64)
    arguments = parser.parse_args()
    spec = ModelSpec()
    tokenizer = load_tokenizer(spec)
    engine = TransformersEngine(spec, tokenizer=tokenizer, sampling=Sampling(), max_context=None, batch_size=16)
    requests: list[Score] = []
    for raw in open_source(str(arguments.file)).rows():
        if raw.row is not None and len(requests) < arguments.rows:
            problem = to_demonstration(raw.row, Fields())
            prompt, response = tokenizer.prompt_ids(problem.messages), tokenizer.response_ids(problem.expert)
            requests.append(Score(str(raw.line), prompt, response))

    plain = load_model(spec)
    began = time.perf_counter()
    naive: dict[str, list[float]] = {}
    with torch.no_grad():
        for request in requests:
            ids = torch.tensor([[*request.prompt_ids, *request.response_ids]])
            logprobs = torch.log_softmax(plain(ids).logits.float(), dim=-1)[0]
            start = len(request.prompt_ids) - 1
            naive[request.key] = [logprobs[start + t, y].item() for t, y in enumerate(request.response_ids)]
    naive_seconds = time.perf_counter() - began

    began = time.perf_counter()
    pending, ours = list(requests), dict[str, tuple[float, ...]]()
    while pending:
        engine.submit(engine.pick(pending))
        for answered, result in engine.collect():
            assert isinstance(result, Scores)
            ours[answered.key] = result.logprobs
        pending = [request for request in pending if request.key not in ours]
    seconds = time.perf_counter() - began

    worst = max(abs(a - b) for key in naive for a, b in zip(naive[key], ours[key], strict=True))
    print(f"{len(requests)} rows, {sum(len(r.response_ids) for r in requests):,} response tokens")
    operations = needed_operations(engine.model, requests)
    rate, best = operations / seconds / 1e9, product_rate()
    print(f"score runs at {rate:.1f} GFLOP/s, {rate / best:.0%} of the {best:.1f} of a large product here")
    print(f"row at a time {naive_seconds:.1f} s, score {seconds:.1f} s, ratio {naive_seconds / seconds:.2f}")
    print(f"largest difference {worst:.1e}")


if __name__ == "__main__":
    main()
