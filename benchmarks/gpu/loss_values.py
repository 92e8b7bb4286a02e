"""The loss's log-probs and gradients against full logits and autograd in float64, from the same rounded inputs."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from benchmarks.gpu.kit import Kit, Measure, missing
from benchmarks.loss_memory import Problem, random_problem
from torch import Tensor, nn

from mindgap_data.policy.head import Adapter, Head
from mindgap_loss import LossOptions, weighted_nll
from mindgap_loss.weights import EXPERT

HEADS = ("frozen", "LoRA", "trained")
EXACT, ROUNDED = 1e-3, 0.1  # nats, of log-probs in bfloat16
GRADIENTS = {"float32": 1e-4, "bfloat16": 0.02}  # of the largest; slopes are rounded to bfloat16, a relative 0.004
CLIP = 2.0  # LossOptions' default


def run(kit: Kit) -> Iterator[Measure]:
    """Every hidden size, dtype and kind of head; CCE's kernel on what it can compute."""
    for hidden in kit.sizes.hidden:
        for dtype in ("float32", "bfloat16"):
            for kind in HEADS:
                yield from _measures(kit, hidden, dtype, kind, LossOptions(kernel="torch"))
    if why := missing("cut_cross_entropy", kit.device):
        yield Measure("kernel cce", "log-probs", None, note=why)
        return
    for hidden in kit.sizes.hidden:
        for kind in ("frozen", "trained"):
            yield from _measures(kit, hidden, "bfloat16", kind, LossOptions(kernel="cce"))


def _measures(kit: Kit, hidden: int, dtype: str, kind: str, options: LossOptions) -> Iterator[Measure]:
    log_probs, gradients = _differences(_problem(kit, hidden, getattr(torch, dtype), kind), options)
    case = f"H {hidden}, {dtype}, {kind} head" + (", kernel cce" if options.kernel == "cce" else "")
    yield Measure(case, "log-probs", log_probs, "nats", _tolerance(kit.device, dtype, kind))
    yield Measure(case, "gradients", gradients, "of the largest", GRADIENTS[dtype])


def _tolerance(device: str, dtype: str, kind: str) -> float:
    """Of log-probs, nats: CUDA keeps the sums of bfloat16 products in float32, a CPU and LoRA's path round them."""
    if dtype == "float32":
        return 1e-4
    return EXACT if device == "cuda" and kind != "LoRA" else ROUNDED


def _problem(kit: Kit, hidden: int, dtype: torch.dtype, kind: str) -> Problem:
    sizes = kit.sizes
    found = random_problem(
        sizes.tokens, hidden, sizes.vocabulary, train_head=kind == "trained", device=kit.device, dtype=dtype
    )
    if kind != "LoRA":
        return found
    down = torch.randn(8, hidden, device=kit.device).mul_(hidden**-0.5).to(dtype).requires_grad_()
    up = torch.randn(sizes.vocabulary, 8, device=kit.device).mul_(0.1).to(dtype).requires_grad_()
    return found._replace(head=replace(found.head, adapters=(Adapter(down, up, 2.0, nn.Identity()),)))


def _differences(problem: Problem, options: LossOptions) -> tuple[float, float]:
    """Largest difference of the log-probs, and of the gradients over the largest gradient."""
    output = weighted_nll(*problem, options)
    output.loss.backward()
    ours = [leaf.grad for leaf in _leaves(problem)]
    exact = Problem(_double(problem.hidden), _double_head(problem.head), problem.targets, problem.fields)
    p = _plain_loss(exact)
    log_probs = float((output.log_probs - p).abs().max())
    gradients = 0.0
    for mine, leaf in zip(ours, _leaves(exact), strict=True):
        assert mine is not None
        assert leaf.grad is not None
        gradients = max(gradients, float((mine - leaf.grad).abs().max() / leaf.grad.abs().max()))
    return log_probs, gradients


def _plain_loss(problem: Problem) -> Tensor:
    """The loss as the paper writes it, backpropagated; returns log pi(y_t) [N].

    A token the model drew has the weight min(pi / mu, C), an expert's has pi (the DFT weight).
    """
    hidden, head, targets, fields = problem
    logits = hidden @ head.weight.t()
    for adapter in head.adapters:
        logits = logits + adapter.scaling * (hidden @ adapter.down.t() @ adapter.up.t())
    p = logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(1)
    with torch.no_grad():
        ratio = (p - fields.behavior).exp().clamp(max=CLIP)
        weights = torch.where(fields.tier == EXPERT, p.exp(), ratio)
    (-(weights * p).sum() / len(p)).backward()
    return p.detach()


def _leaves(problem: Problem) -> list[Tensor]:
    return [tensor for tensor in (problem.hidden, *problem.head.tensors()) if tensor.requires_grad]


def _double(tensor: Tensor) -> Tensor:
    return tensor.detach().double().requires_grad_(tensor.requires_grad)


def _double_head(head: Head) -> Head:
    adapters = tuple(replace(a, down=_double(a.down), up=_double(a.up)) for a in head.adapters)
    return replace(head, weight=_double(head.weight), adapters=adapters)
