"""The importance-weighted negative log-likelihood, without ever holding the [tokens x vocabulary] logits."""

from dataclasses import dataclass

import torch
from mindgap_axolotl.head import Head
from mindgap_axolotl.options import LossOptions
from mindgap_axolotl.weights import TokenFields, token_log_weights, token_weights
from mindgap_data.importance import kl_k3
from torch import Tensor


@dataclass(frozen=True)
class LossOutput:
    """A micro-batch's loss and what the metrics need.

    Attributes:
        loss: scalar with gradient.
        log_probs: p_t, detached [N], at least float32.
        log_weights: raw log-weights, detached [N] (see ``weights.token_log_weights``).
        weights: what the loss used, detached [N]: clipped, times the tier weights. Their sum is what
            ``normalize: batch`` needs.
    """

    loss: Tensor
    log_probs: Tensor
    log_weights: Tensor
    weights: Tensor


def weighted_nll(
    hidden: Tensor,
    head: Head,
    targets: Tensor,
    fields: TokenFields,
    options: LossOptions,
    denominator: Tensor | float | None = None,
) -> LossOutput:
    """[sum_t w_t (-p_t) + kl_coef sum_t k3_t] / denominator, with detached weights w_t.

    With ``normalize: batch`` the self-normalised loss divides by sum_t w_t over the global batch, which
    is known only after its last micro-batch. The gradient being linear in 1/denominator, a trainer
    calls this with the trained-token count T of the global batch as denominator, adds up
    ``weights.sum()`` over accumulation steps and ranks to W, and before the optimizer step multiplies
    the gradients (and the logged loss) by T / W, or by 0 when W = 0.

    Args:
        hidden: [N, H], final hidden states at the positions that predict the trained tokens.
        head: the output projection, from ``head.head_of(model)``.
        targets: int64 [N], the trained tokens.
        fields: of the same N tokens. Levels other than token need whole samples.
        options: of the loss.
        denominator: trained tokens of the global batch (times whatever the trainer divides by later).
            None: this call is the whole batch; N, or the sum of weights under ``normalize: batch``.

    Returns:
        The loss and detached per-token values. N = 0 gives a zero that is connected to the graph.
    """
    p = head.logits(hidden).float().log_softmax(-1).gather(1, targets[:, None])[:, 0]
    log_probs = p.detach()
    log_weights = token_log_weights(log_probs, fields, options)
    weights = token_weights(log_weights, fields, options)
    total = -(weights * p).sum()
    if options.kl_coef:
        total = total + options.kl_coef * kl_k3(fields.policy - p).sum()
    if denominator is None:
        denominator = weights.sum() if options.normalize == "batch" else max(len(fields), 1)
    return LossOutput(total / denominator, log_probs, log_weights, weights)


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
    with torch.no_grad():
        return head.logits(hidden).float().log_softmax(-1).gather(1, targets[:, None])[:, 0]
