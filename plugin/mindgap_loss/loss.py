"""The importance-weighted negative log-likelihood, without ever holding the [tokens x vocabulary] logits."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mindgap_data.importance import kl_k3
from mindgap_data.policy.head import Head
from mindgap_loss.chunks import ChunkedLogits, Factors, uncompiled
from mindgap_loss.gradients import Gradients
from mindgap_loss.options import LossOptions
from mindgap_loss.sharding import gathered
from mindgap_loss.weights import TokenFields, Weighed, weigh


@dataclass(frozen=True)
class LossOutput:
    """A micro-batch's loss and what the metrics need.

    Attributes:
        loss: scalar with gradient, at least float32.
        log_probs: p_t, detached [N], at least float32.
        log_weights: raw log-weights, detached [N] (see ``weights.token_log_weights``).
        weights: what the loss used, detached [N]: clipped, times the tier weights. Their sum is what
            ``normalize: batch`` needs.
    """

    loss: Tensor
    log_probs: Tensor
    log_weights: Tensor
    weights: Tensor


@uncompiled
def weighted_nll(
    hidden: Tensor,
    head: Head,
    targets: Tensor,
    fields: TokenFields,
    options: LossOptions,
    denominator: Tensor | float | None = None,
) -> LossOutput:
    """[sum_t w_t (-p_t) + kl_coef sum_t k3_t] / denominator, with detached weights w_t.

    k3_t = exp(d) - 1 - d with d = log pi_0 - p_t (Schulman 2020; the penalty of GRPO,
    arXiv 2402.03300, eq. 4).

    With ``normalize: batch`` the self-normalised loss divides by sum_t w_t over the global batch, which
    is known only after its last micro-batch. The gradient being linear in 1/denominator, a trainer
    calls this with the trained-token count T of the global batch as denominator, adds up
    ``weights.sum()`` over accumulation steps and ranks to W, and before the optimizer step multiplies
    the gradients (and the logged loss) by T / W, or by 0 when W = 0.

    Weights and log-probs are computed in float32 (float64 for float64 states) whatever the dtype of
    the model; the matrix products are in the dtype of the head, or of autocast. Gradients are formed
    here, chunk by chunk, so backward only scales them, and can run once.

    Args:
        hidden: [N, H], final hidden states at the positions that predict the trained tokens.
        head: the output projection, from ``head.head_of(model)``.
        targets: int64 [N], the trained tokens.
        fields: of the same N tokens. Levels other than token need whole samples.
        options: of the loss.
        denominator: trained tokens of the global batch (times whatever the trainer divides by later).
            None: this call is the whole batch; N, or the sum of weights under ``normalize: batch``.

    Returns:
        The loss and detached per-token values. N = 0, or a denominator of 0, gives a zero that is
        connected to the graph.
    """
    with gathered(head) as whole:
        total, p, log_weights, weights = _WeightedNLL.apply(
            *Factors.of(hidden, whole), whole, targets, fields, options, torch.is_grad_enabled()
        )
    if denominator is None:
        denominator = weights.sum() if options.normalize == "batch" else float(len(fields))
    divisor = torch.as_tensor(denominator, dtype=total.dtype, device=total.device)
    factor = torch.where(divisor > 0, 1 / divisor, 0.0)
    return LossOutput(total * factor, p, log_weights, weights)


@uncompiled
def log_probs(hidden: Tensor, head: Head, targets: Tensor, chunk_tokens: int = 256) -> Tensor:
    """p_t = log pi(y_t), no gradient, for evaluation and metrics.

    Args:
        hidden: [N, H].
        head: the output projection.
        targets: int64 [N].
        chunk_tokens: tokens whose logits are held at once.

    Returns:
        [N], at least float32.
    """
    with torch.no_grad(), gathered(head) as whole:
        return ChunkedLogits(Factors.of(hidden, whole), whole, chunk_tokens).log_probs(targets)


class _WeightedNLL(torch.autograd.Function):
    """sum_t w_t (-p_t) + kl_coef sum_t k3_t, with its gradients formed in the forward pass.

    The slope of token t is c_t times that of -p_t. At token level c_t follows from p_t alone, so one pass
    over the chunks does everything. At the levels of whole samples a trained head takes one more pass
    first, for the log-probs.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        low: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
        up: Tensor | None,
        head: Head,
        targets: Tensor,
        fields: TokenFields,
        options: LossOptions,
        with_gradients: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        factors = Factors(hidden, low, weight, bias, up)
        logits = ChunkedLogits(factors, head, options.chunk_tokens)
        wanted = [with_gradients and needed for needed in ctx.needs_input_grad[: len(factors)]]
        if any(wanted):
            ctx.gradients = Gradients(logits, factors, wanted)
            p, weighed = _form(ctx.gradients, logits, targets, fields, options)
        else:
            p = logits.log_probs(targets)
            weighed = weigh(p, fields, options)
        ctx.mark_non_differentiable(p, weighed.log_weights, weighed.weights)
        total = -(weighed.weights * p).sum()
        if options.kl_coef:
            total = total + options.kl_coef * kl_k3(fields.policy - p).sum()
        return total, p, weighed.log_weights, weighed.weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("the loss was already backpropagated: its gradients are formed once and scaled in place")
        gradients, ctx.gradients = ctx.gradients, None
        return (*gradients.times(upstream), None, None, None, None, None)


def _form(
    gradients: Gradients, logits: ChunkedLogits, targets: Tensor, fields: TokenFields, options: LossOptions
) -> tuple[Tensor, Weighed]:
    """Fill in ``gradients``; returns p_t [N] and the weights."""
    by_sample = None
    if gradients.of_head and options.level != "token":
        by_sample = weigh(logits.log_probs(targets), fields, options).coefficients
    p = targets.new_empty(logits.count, dtype=logits.float_dtype)
    for rows in logits:
        p[rows], slope = logits.slopes(rows, targets[rows])
        gradients.write_tokens(rows, slope)
        if gradients.of_head:
            c = weigh(p[rows], fields[rows], options).coefficients if by_sample is None else by_sample[rows]
            gradients.add_to_head(rows, slope, c)
    weighed = weigh(p, fields, options)
    gradients.scale_tokens(weighed.coefficients)
    return p, weighed
