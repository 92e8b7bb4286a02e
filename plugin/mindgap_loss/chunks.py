"""Log-probs and their slopes a chunk of tokens at a time: the one place that holds logits. No autograd here."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor

from mindgap_data.policy.head import Head
from mindgap_loss.weights import TokenValues

Function = TypeVar("Function", bound=Callable[..., Any])


def uncompiled(function: Function) -> Function:
    """Keep torch.compile out: it would unroll the loop over chunks anew for every number of tokens."""
    return cast(Function, torch.compiler.disable(function))


def product_dtype(hidden: Tensor, weight: Tensor) -> torch.dtype:
    """Dtype in which a head multiplies: autocast's, else its weight's."""
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


class Factors(NamedTuple):
    """What logits are products of: hidden W^T + bias + low up^T.

    Attributes:
        hidden: [N, H], final hidden states.
        low: [N, r], the inner activations of LoRA on the head; None without.
        weight: W [V, H].
        bias: [V], or None.
        up: [V, r], LoRA's B times its scaling; None without.
    """

    hidden: Tensor
    low: Tensor | None
    weight: Tensor
    bias: Tensor | None
    up: Tensor | None

    @classmethod
    def of(cls, hidden: Tensor, head: Head) -> "Factors":
        """Of hidden states [N, H] and a head with whole tensors."""
        return cls(hidden, head.reduce(hidden), head.weight, head.total_bias(), head.up())


class ChunkedLogits:
    """Logits of N tokens, ``chunk_tokens`` at a time, in buffers that every chunk uses again.

    Matrix products are of factors in ``dtype`` (of the head's weight, or of autocast), everything else in
    ``float_dtype`` (float32, or float64 for a float64 head). On CUDA the products of bfloat16 and float16
    leave the multiplication in float32; elsewhere torch rounds them first.

    Args:
        factors: what the logits are products of.
        head: their scale and soft cap are its.
        chunk_tokens: C.
        top_entropy: K to find the entropy of the K likeliest tokens, 0 for none.
    """

    def __init__(self, factors: Factors, head: Head, chunk_tokens: int, top_entropy: int = 0) -> None:
        hidden, weight = factors.hidden, factors.weight
        self.dtype = product_dtype(hidden, weight)
        self.float_dtype = torch.promote_types(self.dtype, torch.float32)
        self.factors = Factors._make(None if x is None else x.detach().to(self.dtype) for x in factors)
        self.scale, self.softcap, self.top_entropy = head.scale, head.softcap, top_entropy
        self._unrounded = self.dtype != self.float_dtype and _has_float32_products(hidden.device)
        self.count, self.size = hidden.shape[0], max(1, min(chunk_tokens, hidden.shape[0]))
        self._product = hidden.new_empty((self.size, weight.shape[0]), dtype=self.dtype)
        # The same memory when the head is in float32 or float64.
        self._float = self._product.to(self.float_dtype)

    def __iter__(self) -> Iterator[slice]:
        """Slices of the N tokens, in order."""
        return (slice(start, min(start + self.size, self.count)) for start in range(0, self.count, self.size))

    def values(self, targets: Tensor) -> TokenValues:
        """Log-probs of the targets [N], and entropies if asked for, in ``float_dtype``."""
        found = self.empty_values()
        for rows in self:
            z = self._logits(rows)
            if self.softcap is not None:
                z *= self.softcap
            self._set(found, rows, self._softmax_(z, targets[rows]))
        return found

    def slopes(self, rows: slice, targets: Tensor, found: TokenValues) -> Tensor:
        """The slope of -p_t with respect to the head's matrix product; p_t itself goes to ``found``.

        Args:
            rows: the chunk.
            targets: int64 [C], its tokens.
            found: of all N tokens, from :meth:`empty_values`; the chunk's part is filled in.

        Returns:
            scale * (softmax - onehot) * (1 - tanh^2) [C, V] in ``dtype``, the last factor with
            soft-capping only; valid until the next call.
        """
        z = self._logits(rows)
        steepness = None
        if self.softcap is not None:
            steepness = 1 - z * z
            z *= self.softcap
        self._set(found, rows, self._softmax_(z, targets))
        z[torch.arange(len(targets), device=z.device), targets] -= 1
        if steepness is not None:
            z *= steepness
        if self.scale != 1:
            z *= self.scale
        return self._product[: len(targets)].copy_(z) if self._product is not self._float else z

    def empty_values(self) -> TokenValues:
        """Room for the values of all N tokens."""
        p = self.factors.hidden.new_empty(self.count, dtype=self.float_dtype)
        return TokenValues(p, torch.empty_like(p) if self.top_entropy else None)

    def _set(self, found: TokenValues, rows: slice, values: TokenValues) -> None:
        found.log_probs[rows] = values.log_probs
        if found.entropy is not None and values.entropy is not None:
            found.entropy[rows] = values.entropy

    def _logits(self, rows: slice) -> Tensor:
        """Logits of a chunk over the softcap (tanh), or the logits where there is none: [C, V] in ``float_dtype``."""
        size, factors = rows.stop - rows.start, self.factors
        product, z = self._product[:size], self._float[:size]
        one_buffer = self._product is self._float
        with torch.autocast(z.device.type, enabled=False):
            if self._unrounded:
                torch.mm(factors.hidden[rows], factors.weight.t(), out_dtype=z.dtype, out=z)
            else:
                torch.mm(factors.hidden[rows], factors.weight.t(), out=product)
                if not one_buffer:
                    z.copy_(product)
            if factors.bias is not None:
                z += factors.bias
            if factors.low is not None and factors.up is not None:
                if one_buffer:
                    z.addmm_(factors.low[rows], factors.up.t())
                else:
                    z += torch.mm(factors.low[rows], factors.up.t(), out=product)
        if self.scale != 1:
            z *= self.scale
        return z if self.softcap is None else z.div_(self.softcap).tanh_()

    def _softmax_(self, z: Tensor, targets: Tensor) -> TokenValues:
        """Turn logits [C, V] into probabilities in place; returns the targets' log-probs, and entropies."""
        entropy = _entropy_of_top(z, self.top_entropy) if self.top_entropy else None
        top = z.amax(1, keepdim=True)
        chosen = z.gather(1, targets[:, None]) - top
        z.sub_(top).exp_()
        total = z.sum(1, keepdim=True)
        z.div_(total)
        return TokenValues((chosen - total.log())[:, 0], entropy)


def _entropy_of_top(z: Tensor, count: int) -> Tensor:
    """Entropy [C] of the ``count`` likeliest tokens among themselves, of logits [C, V]."""
    log_probs = z.topk(min(count, z.shape[1]), dim=1).values.log_softmax(1)
    return -(log_probs.exp() * log_probs).sum(1)


def _has_float32_products(device: torch.device) -> bool:
    """Whether torch can multiply in bfloat16 and hand over float32 (``out_dtype`` of mm)."""
    return device.type == "cuda" and torch.version.cuda is not None and hasattr(torch.ops.aten.mm, "dtype_out")
