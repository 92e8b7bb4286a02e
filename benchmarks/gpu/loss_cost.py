"""Time and peak memory of the loss, forward and backward, against full logits, Liger and Apple's CCE.

Liger and CCE by themselves compute plain cross-entropy; the others compute importance weights as well.
"""

from collections.abc import Callable, Iterator

import torch
from benchmarks.gpu.clock import cost_of
from benchmarks.gpu.kit import Kit, Measure, missing
from benchmarks.loss_memory import Problem, naive, random_problem
from torch import Tensor

from mindgap_loss import LossOptions, weighted_nll

OPTIONS, BY_CCE = LossOptions(kernel="torch"), LossOptions(kernel="cce")
CCE = "cut_cross_entropy"


def run(kit: Kit) -> Iterator[Measure]:
    """Every hidden size and a frozen and a trained head, in the dtype of training."""
    sizes = kit.sizes
    for hidden in sizes.cost_hidden:
        for kind in ("frozen", "trained"):
            problem = random_problem(
                sizes.cost_tokens,
                hidden,
                sizes.vocabulary,
                train_head=kind == "trained",
                device=kit.device,
                dtype=getattr(torch, kit.dtype),
            )
            for name, (loss, why_not) in _variants(kit.device).items():
                yield from _measures(f"H {hidden}, {kind} head, {name}", loss, why_not, problem, kit)


def _variants(device: str) -> dict[str, tuple[Callable[[Problem], Tensor], str]]:
    """Each loss, and why it cannot be run; empty where it can."""
    return {
        "full logits": (lambda problem: naive(problem, OPTIONS), ""),
        "mindgap": (lambda problem: weighted_nll(*problem, OPTIONS).loss, ""),
        "mindgap, kernel cce": (lambda problem: weighted_nll(*problem, BY_CCE).loss, missing(CCE, device)),
        "Liger": (_liger, missing("liger_kernel", device)),
        "CCE": (_cce, missing(CCE, device)),
    }


def _measures(
    case: str, loss: Callable[[Problem], Tensor], why_not: str, problem: Problem, kit: Kit
) -> Iterator[Measure]:
    if why_not:
        yield Measure(case, "time", None, note=why_not)
        return

    def forward_and_backward() -> None:
        loss(problem).backward()
        problem.hidden.grad = problem.head.weight.grad = None

    try:
        cost = cost_of(forward_and_backward, kit.device, kit.sizes.repeats)
    except torch.OutOfMemoryError:
        yield Measure(case, "time", None, note="out of memory")
        return
    yield Measure(case, "time", 1e3 * cost.seconds, "ms")
    if cost.peak is not None:
        yield Measure(case, "peak memory", cost.peak / 2**30, "GiB")


def _liger(problem: Problem) -> Tensor:
    from liger_kernel.transformers.fused_linear_cross_entropy import LigerFusedLinearCrossEntropyLoss

    loss: Tensor = LigerFusedLinearCrossEntropyLoss()(problem.head.weight, problem.hidden, problem.targets)
    return loss


def _cce(problem: Problem) -> Tensor:
    from cut_cross_entropy import linear_cross_entropy

    loss: Tensor = linear_cross_entropy(problem.hidden, problem.head.weight, problem.targets)
    return loss
