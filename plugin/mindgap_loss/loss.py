"""The importance-weighted negative log-likelihood, without ever holding the [tokens x vocabulary] logits."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mindgap_data.policy.head import Head
from mindgap_loss import cce
from mindgap_loss.chunks import ChunkedLogits, Factors, uncompiled
from mindgap_loss.gradients import Gradients
from mindgap_loss.options import CHUNK_FROZEN, LossOptions
from mindgap_loss.sharding import gathered
from mindgap_loss.weights import TokenFields, TokenValues, Weighed, weigh, weighted_total


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

    Weights: ``weights.token_weights``. k3_t: ``weights.kl_penalty``.

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
        if options.kernel == "cce" and len(targets):  # its kernels want a token
            total, p, log_weights, weights = _by_cce(hidden, whole, targets, fields, options)
        else:
            total, p, log_weights, weights = _WeightedNLL.apply(
                *Factors.of(hidden, whole), whole, targets, fields, options, torch.is_grad_enabled()
            )
    if denominator is None:
        denominator = weights.sum() if options.normalize == "batch" else float(len(fields))
    if not isinstance(denominator, Tensor):  # filled in on the device: copying a number to it would wait for it
        denominator = torch.full_like(total, denominator)
    divisor = denominator.to(total)
    factor = torch.where(divisor > 0, 1 / divisor, 0.0)
    return LossOutput(total * factor, p, log_weights, weights)


@uncompiled
def log_probs(hidden: Tensor, head: Head, targets: Tensor, chunk_tokens: int = CHUNK_FROZEN) -> Tensor:
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
        return ChunkedLogits(Factors.of(hidden, whole), whole, chunk_tokens).values(targets).log_probs


def _by_cce(
    hidden: Tensor, head: Head, targets: Tensor, fields: TokenFields, options: LossOptions
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As :class:`_WeightedNLL`. Weights are constants, so one forward and one backward serve every level."""
    p = cce.log_probs(hidden, head, targets)
    weighed = weigh(TokenValues(p.detach()), fields, options)
    return weighted_total(p, weighed.weights, fields, options), p.detach(), weighed.log_weights, weighed.weights


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
        wanted = [with_gradients and needed for needed in ctx.needs_input_grad[: len(factors)]]
        chunk_tokens = options.chunk_size(head_is_trained=any(wanted[2:]))
        logits = ChunkedLogits(factors, head, chunk_tokens, options.top_entropy)
        if any(wanted):
            ctx.gradients = Gradients(logits, factors, wanted)
            values, weighed = _form(ctx.gradients, logits, targets, fields, options)
        else:
            values = logits.values(targets)
            weighed = weigh(values, fields, options)
        p = values.log_probs
        ctx.mark_non_differentiable(p, weighed.log_weights, weighed.weights)
        return weighted_total(p, weighed.weights, fields, options), p, weighed.log_weights, weighed.weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("the loss was already backpropagated: its gradients are formed once and scaled in place")
        gradients, ctx.gradients = ctx.gradients, None
        return (*gradients.times(upstream), None, None, None, None, None)


def _form(
    gradients: Gradients, logits: ChunkedLogits, targets: Tensor, fields: TokenFields, options: LossOptions
) -> tuple[TokenValues, Weighed]:
    """Fill in ``gradients``; returns what the policy says of the N tokens, and their weights."""
    by_sample = None
    if gradients.of_head and options.level != "token":
        by_sample = weigh(logits.values(targets), fields, options).coefficients
    values = logits.empty_values()
    for rows in logits:
        slope = logits.slopes(rows, targets[rows], values)
        gradients.write_tokens(rows, slope)
        if gradients.of_head:
            c = by_sample[rows] if by_sample is not None else _coefficients(values, fields, options, rows)
            gradients.add_to_head(rows, slope, c)
    weighed = weigh(values, fields, options)
    gradients.scale_tokens(weighed.coefficients)
    return values, weighed


def _coefficients(values: TokenValues, fields: TokenFields, options: LossOptions, rows: slice) -> Tensor:
    """c_t of a chunk's tokens, at token level: of nothing but the tokens themselves."""
    entropy = None if values.entropy is None else values.entropy[rows]
    return weigh(TokenValues(values.log_probs[rows], entropy), fields[rows], options).coefficients
