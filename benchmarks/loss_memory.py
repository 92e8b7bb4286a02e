"""Peak memory, time and gradient of the weighted loss against the same loss on full logits, float32 on the CPU.

Each measurement is a process of its own (peak resident memory over its inputs, from getrusage); the
two variants take turns. Prints a table of medians and exits with 1 when a target is missed.

    python benchmarks/loss_memory.py --rounds 5
"""

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mindgap_loss import Head, LossOptions, TokenFields, weighted_nll
from mindgap_loss.weights import TokenValues, weigh

VARIANTS = ("naive", "mindgap")
# CPU time over all threads says more than the clock on a machine that others use too.
TARGETS = {"memory": 0.1, "time": 1.05, "cpu": 1.05, "gradient": 1e-5}


class Problem(NamedTuple):
    """What a loss is computed from."""

    hidden: Tensor  # [N, H]
    head: Head
    targets: Tensor  # int64 [N]
    fields: TokenFields


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--tokens", type=int, default=4_096)
    parser.add_argument("--hidden", type=int, default=896)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each variant")
    parser.add_argument("--preset", default="is", choices=("is", "paper", "sft"))
    parser.add_argument("--level", default=None, choices=("token", "sequence", "geometric"))
    parser.add_argument("--train-head", action="store_true", help="the head takes gradients too")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--gradients", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.variant:
        print(json.dumps(measure(arguments)))
    else:
        sys.exit(compare(arguments))


def compare(arguments: argparse.Namespace) -> int:
    """Run the variants in turn, print the table, return the exit code."""
    results: dict[str, list[dict[str, float]]] = {variant: [] for variant in VARIANTS}
    with tempfile.TemporaryDirectory() as folder:
        files = {variant: Path(folder) / f"{variant}.pt" for variant in VARIANTS}
        for _ in range(arguments.rounds):
            for variant in VARIANTS:
                command = [sys.executable, *sys.argv, "--variant", variant, "--gradients", str(files[variant])]
                run = subprocess.run(command, check=True, capture_output=True, text=True)
                results[variant].append(json.loads(run.stdout.splitlines()[-1]))
        gradient = difference(*(torch.load(files[variant]) for variant in VARIANTS))
    median = {
        variant: {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        for variant, runs in results.items()
    }
    ratios = {
        "memory": median["mindgap"]["memory"] / median["naive"]["memory"],
        "time": median["mindgap"]["time"] / median["naive"]["time"],
        "cpu": median["mindgap"]["cpu"] / median["naive"]["cpu"],
        "gradient": gradient,
    }
    print(
        f"vocabulary {arguments.vocabulary}, tokens {arguments.tokens}, hidden {arguments.hidden}, float32, "
        f"{torch.get_num_threads()} threads, medians of {arguments.rounds}"
    )
    for variant in VARIANTS:
        times = ", ".join(f"{run['time']:.1f}" for run in results[variant])
        print(
            f"{variant:8} {median[variant]['memory'] / 1e9:6.2f} GB {median[variant]['time']:6.1f} s ({times}), "
            f"{median[variant]['cpu']:.1f} s of CPU time"
        )
    for name, ratio in ratios.items():
        print(f"{name:8} {ratio:.3g} (target: at most {TARGETS[name]:g})")
    return int(any(ratio > TARGETS[name] for name, ratio in ratios.items()))


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Forward and backward of one variant: bytes of peak memory over the inputs, seconds; saves the gradients."""
    problem = random_problem(arguments.tokens, arguments.hidden, arguments.vocabulary, train_head=arguments.train_head)
    hidden, head, targets, fields = problem
    options = LossOptions.model_validate({"preset": arguments.preset, "level": arguments.level})
    warm_up = head.weight.new_ones(64, 64)
    (warm_up @ warm_up).exp().sum().item()
    before = peak()
    start, cpu_start = time.perf_counter(), time.process_time()
    if arguments.variant == "naive":
        loss = naive(problem, options)
    else:
        loss = weighted_nll(hidden, head, targets, fields, options).loss
    loss.backward()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    result = {"memory": float(peak() - before), "time": seconds, "cpu": cpu}
    torch.save([x.grad for x in (hidden, head.weight) if x.grad is not None], arguments.gradients)
    return result


def naive(problem: Problem, options: LossOptions) -> Tensor:
    """The same loss on full logits in float32, as the DFT losses of TRL and Axolotl compute theirs."""
    hidden, head, targets, fields = problem
    logits = torch.nn.functional.linear(hidden, head.weight).float()
    p = -torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    weights = weigh(TokenValues(p.detach()), fields, options).weights
    return -(weights * p).sum() / len(targets)


def random_problem(
    tokens: int,
    hidden: int,
    vocabulary: int,
    *,
    train_head: bool,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Problem:
    """Random states, head and rows of 256 tokens, all three tiers; log-probs near those of the random model."""
    torch.manual_seed(0)
    states = torch.randn(tokens, hidden, device=device).to(dtype).requires_grad_()
    weight = torch.randn(vocabulary, hidden, device=device).mul_(0.05).to(dtype).requires_grad_(train_head)
    targets = torch.randint(0, vocabulary, (tokens,), device=device)
    recorded = torch.randn(tokens, device=device) - math.log(vocabulary) - 0.5
    sample = torch.arange(tokens, device=device) // 256
    fields = TokenFields(tier=sample % 3, behavior=recorded, policy=recorded, sample=sample)
    return Problem(states, Head(weight), targets, fields)


def peak() -> int:
    """Peak resident memory of this process so far, bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Largest absolute difference over the largest gradient."""
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, theirs, strict=True))


if __name__ == "__main__":
    main()
