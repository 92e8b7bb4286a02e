"""The importance-weighted negative log-likelihood, without ever holding the [tokens x vocabulary] logits."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mindgap_axolotl.chunks import ChunkedLogits, uncompiled
from mindgap_axolotl.head import Head, gathered
from mindgap_axolotl.options import LossOptions
from mindgap_axolotl.weights import TokenFields, token_log_weights, token_weights
from mindgap_data.importance import kl_k3


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
    with gathered(head) as full:
        total, p, log_weights, weights = _WeightedNLL.apply(
            hidden,
            full.reduce(hidden),
            full.weight,
            full.total_bias(),
            full.up(),
            _Job(full, targets, fields, options, torch.is_grad_enabled()),
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
    with torch.no_grad(), gathered(head) as full:
        logits = ChunkedLogits(hidden, full, full.reduce(hidden), full.up(), full.total_bias(), chunk_tokens)
        return logits.log_probs(targets)


@dataclass(frozen=True)
class _Job:
    """What the loss is computed from besides the tensors that take gradients."""

    head: Head
    targets: Tensor
    fields: TokenFields
    options: LossOptions
    grad: bool

    def weigh(self, p: Tensor, rows: slice = slice(None)) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights, weights, and c_t = -dLoss/dp_t = w_t + kl_coef (exp(d_t) - 1), of the tokens in ``rows``."""
        fields = self.fields[rows]
        log_weights = token_log_weights(p, fields, self.options)
        weights = token_weights(log_weights, fields, self.options)
        if not self.options.kl_coef:
            return log_weights, weights, weights
        return log_weights, weights, weights + self.options.kl_coef * torch.expm1(fields.policy - p)


class _WeightedNLL(torch.autograd.Function):
    """sum_t w_t (-p_t) + kl_coef sum_t k3_t, its gradients formed in the forward pass from each chunk's logits.

    The slope of token t is c_t times that of -p_t. c_t is a factor of a whole row of the gradients of
    hidden states (and LoRA's inner activations), so those rows are formed without it and scaled when
    every c_t is known: one pass at every level. The gradient of a trained head sums over rows and
    needs c_t at once, which at the levels of whole samples takes one more pass for the log-probs.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        low: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
        up: Tensor | None,
        job: _Job,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        logits = ChunkedLogits(hidden, job.head, low, up, bias, job.options.chunk_tokens)
        inputs = (hidden, low, weight, bias, up)
        # A row is written once, in the products' dtype; sums over rows add up in at least float32.
        dtypes = [logits.dtype] * 2 + [logits.float_dtype] * 3
        grads = [
            torch.zeros(x.shape, dtype=dtype, device=x.device) if x is not None and needed and job.grad else None
            for x, needed, dtype in zip(inputs, ctx.needs_input_grad[:5], dtypes, strict=True)
        ]
        untouched = all(grad is None for grad in grads)
        p = logits.log_probs(job.targets) if untouched else _form_gradients(logits, job, grads)
        log_weights, weights, c = job.weigh(p)
        for rows_grad in grads[:2]:
            if rows_grad is not None:
                rows_grad *= c[:, None]
        ctx.grads = grads
        ctx.dtypes = [None if x is None else x.dtype for x in inputs]
        ctx.mark_non_differentiable(p, log_weights, weights)
        total = -(weights * p).sum()
        if job.options.kl_coef:
            total = total + job.options.kl_coef * kl_k3(job.fields.policy - p).sum()
        return total, p, log_weights, weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        if ctx.grads is None:
            raise RuntimeError("the loss was already backpropagated: its gradients are formed once and scaled in place")
        grads, ctx.grads = ctx.grads, None
        scaled = (None if g is None else g.mul_(upstream).to(dtype) for g, dtype in zip(grads, ctx.dtypes, strict=True))
        return (*scaled, None)


def _form_gradients(logits: ChunkedLogits, job: _Job, grads: list[Tensor | None]) -> Tensor:
    """Write the gradients of hidden states and LoRA's inner activations, each row but for its c_t, add up the head's.

    Args:
        logits: of the N tokens.
        job: the rest.
        grads: of hidden [N, H], low [N, r], weight [V, H], bias [V] and up [V, r]; None where not needed.

    Returns:
        p_t [N].
    """
    d_hidden, d_low, d_weight, d_bias, d_up = grads
    trained = any(grad is not None for grad in (d_weight, d_bias, d_up))
    first_pass = trained and job.options.level != "token"
    c = job.weigh(logits.log_probs(job.targets))[2] if first_pass else None
    p = logits.hidden.new_empty(logits.count, dtype=logits.float_dtype)
    for rows in logits:
        p[rows], slope = logits.slopes(rows, job.targets[rows])
        with torch.autocast(slope.device.type, enabled=False):
            if d_hidden is not None:
                torch.mm(slope, logits.weight, out=d_hidden[rows])
            if d_low is not None and logits.up is not None:
                torch.mm(slope, logits.up, out=d_low[rows])
            if not trained:
                continue
            of_rows = (job.weigh(p[rows], rows)[2] if c is None else c[rows])[:, None]
            if d_weight is not None:
                _add_product(d_weight, slope, logits.hidden[rows] * of_rows)
            if d_up is not None and logits.low is not None:
                _add_product(d_up, slope, logits.low[rows] * of_rows)
            if d_bias is not None:
                _add_product(d_bias[:, None], slope, of_rows)
    return p


def _add_product(total: Tensor, slope: Tensor, rows: Tensor) -> None:
    """total [V, K] += slope [C, V]^T rows [C, K], the product in slope's dtype, the sum in total's."""
    rows = rows.to(slope.dtype)
    if total.dtype == slope.dtype:
        total.addmm_(slope.t(), rows)
    else:
        total += slope.t() @ rows
