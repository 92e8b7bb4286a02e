"""The next token of every row: the processed distribution, and draws from it that follow from uniforms alone."""

from collections.abc import Sequence
from typing import Any

import torch

from mindgap_data.engines import Sampling

BLOCK = 256  # tokens of the vocabulary summed together before the running sum


class Sampler:
    """Turns logits into the processed distribution and draws from it by inverse CDF.

    What a row draws is a function of its logits and its uniform: no state, no neighbour.
    """

    def __init__(self, sampling: Sampling) -> None:
        self._warpers = _warpers(sampling)
        self._penalty = sampling.repetition_penalty
        self._greedy = sampling.temperature == 0

    @property
    def wants_seen(self) -> bool:
        """Whether the tokens a row has seen change its distribution."""
        return self._penalty != 1.0

    def draw(self, logits: Any, uniforms: Any, seen: Any = None) -> tuple[Any, Any]:
        """One token a row, and its log-prob.

        Args:
            logits: [rows, vocabulary], as the model gives them.
            uniforms: [rows] float64 in [0, 1).
            seen: [rows, vocabulary] bool, tokens of prompt and response so far; where :attr:`wants_seen`.

        Returns:
            ids [rows] int64 and log-probs [rows] float64 in nats, of the processed distribution.
        """
        scores = logits.float()
        if self.wants_seen:
            penalised = torch.where(scores < 0, scores * self._penalty, scores / self._penalty)
            scores = torch.where(seen, penalised, scores)
        for warper in self._warpers:
            scores = warper(None, scores)
        return likeliest(scores) if self._greedy else inverse_cdf(scores, uniforms)


def likeliest(scores: Any) -> tuple[Any, Any]:
    """The likeliest token of each row and its log-prob; shapes as in :func:`inverse_cdf`."""
    best = scores.max(-1)
    return best.indices, (best.values - torch.logsumexp(scores, -1)).double()


def inverse_cdf(scores: Any, uniforms: Any) -> tuple[Any, Any]:
    """The first token of each row whose cumulative probability exceeds its uniform, and its log-prob.

    The sum has two levels: blocks of the vocabulary in float32, then running sums in float64 over the
    blocks and inside the one that was hit; a float64 running sum over everything costs eight times as much.

    Args:
        scores: [rows, vocabulary] float32, unnormalised log-probs.
        uniforms: [rows] float64 in [0, 1).

    Returns:
        ids [rows] int64, never of a token with probability 0, and log-probs [rows] float64.
    """
    rows, vocabulary = scores.shape
    blocks = -(-vocabulary // BLOCK)
    peak = scores.amax(-1, keepdim=True)
    weights = scores.new_zeros(rows, blocks * BLOCK)
    torch.sub(scores, peak, out=weights[:, :vocabulary])
    weights[:, :vocabulary].exp_()
    weights = weights.view(rows, blocks, BLOCK)
    upto = weights.sum(-1).double().cumsum(-1)
    total = upto[:, -1:]
    # right=True: the first whose running sum exceeds the threshold, so never one that adds nothing.
    block = torch.searchsorted(upto, _below(uniforms[:, None] * total, total), right=True)
    before = torch.where(block > 0, upto.gather(1, (block - 1).clamp_(min=0)), 0.0)
    inside = weights.gather(1, block[:, :, None].expand(rows, 1, BLOCK))[:, 0].double().cumsum(-1)
    place = torch.searchsorted(inside, _below(uniforms[:, None] * total - before, inside[:, -1:]), right=True)
    ids = block * BLOCK + place
    logprobs = (scores.gather(1, ids) - peak).double() - total.log()
    return ids[:, 0], logprobs[:, 0].clamp_(max=0.0)


def _below(threshold: Any, end: Any) -> Any:
    """``threshold``, kept under the end of its running sum against rounding."""
    return torch.minimum(threshold, end * (1 - 1e-15))


def _warpers(sampling: Sampling) -> Sequence[Any]:
    """The processed distribution, in transformers' own order and by its own classes."""
    import transformers as hf

    warpers: list[Any] = []
    if sampling.temperature not in (0.0, 1.0):
        warpers.append(hf.TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k > 0:
        warpers.append(hf.TopKLogitsWarper(top_k=sampling.top_k))
    if sampling.top_p < 1.0:
        warpers.append(hf.TopPLogitsWarper(top_p=sampling.top_p))
    if sampling.min_p > 0.0:
        warpers.append(hf.MinPLogitsWarper(min_p=sampling.min_p))
    return warpers
