"""Gradients of the loss, formed chunk by chunk in the forward pass, so that backward only scales them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mindgap_loss.chunks import ChunkedLogits, Factors


class Gradients:
    """Gradients of sum_t c_t (-p_t) with respect to the factors of the logits, each under the factor's name.

    c_t is a factor of a whole row of the gradients of ``hidden`` and ``low``, so those rows are written
    without it and scaled when every c_t is known. The gradients of ``weight``, ``bias`` and ``up`` sum
    over tokens and need c_t at once.

    Attributes:
        hidden, low, weight, bias, up: of the factors' shapes; None where not wanted.
        of_head: whether a gradient that sums over tokens is wanted.
    """

    def __init__(self, logits: ChunkedLogits, factors: Factors, wanted: Sequence[bool]) -> None:
        """Start with zeros.

        Args:
            logits: of the N tokens.
            factors: of the logits, in the caller's dtypes.
            wanted: for each of them, whether it takes a gradient.
        """
        self.logits = logits
        # A token's row is written once, in the products' dtype; sums over tokens add up in at least float32.
        dtypes = (logits.dtype, logits.dtype, logits.float_dtype, logits.float_dtype, logits.float_dtype)
        self.hidden, self.low, self.weight, self.bias, self.up = (
            torch.zeros(x.shape, dtype=dtype, device=x.device) if x is not None and want else None
            for x, want, dtype in zip(factors, wanted, dtypes, strict=True)
        )
        self._dtypes = [None if x is None else x.dtype for x in factors]
        self.of_head = any(grad is not None for grad in (self.weight, self.bias, self.up))

    def write_tokens(self, rows: slice, slope: Tensor) -> None:
        """The rows of a chunk, for c_t = 1. ``slope`` [C, V] is d(-p_t) / d(product)."""
        with torch.autocast(slope.device.type, enabled=False):
            if self.hidden is not None:
                torch.mm(slope, self.logits.factors.weight, out=self.hidden[rows])
            if self.low is not None and self.logits.factors.up is not None:
                torch.mm(slope, self.logits.factors.up, out=self.low[rows])

    def add_to_head(self, rows: slice, slope: Tensor, c: Tensor) -> None:
        """Add a chunk's share to the gradients that sum over tokens; ``c`` [C]."""
        factors, column = self.logits.factors, c[:, None]
        with torch.autocast(slope.device.type, enabled=False):
            if self.weight is not None:
                _add_product(self.weight, slope, factors.hidden[rows] * column)
            if self.up is not None and factors.low is not None:
                _add_product(self.up, slope, factors.low[rows] * column)
            if self.bias is not None:
                _add_product(self.bias[:, None], slope, column)

    def scale_tokens(self, c: Tensor) -> None:
        """Give every token's row its c_t [N]."""
        for grad in (self.hidden, self.low):
            if grad is not None:
                grad *= c[:, None]

    def times(self, upstream: Tensor) -> list[Tensor | None]:
        """The gradients times a scalar, in the dtypes of the factors. Scales in place: call it once."""
        return [
            None if grad is None else grad.mul_(upstream).to(dtype)
            for grad, dtype in zip((self.hidden, self.low, self.weight, self.bias, self.up), self._dtypes, strict=True)
        ]


def _add_product(total: Tensor, slope: Tensor, rows: Tensor) -> None:
    """total [V, K] += slope [C, V]^T rows [C, K], the product in slope's dtype, the sum in total's."""
    rows = rows.to(slope.dtype)
    if total.dtype == slope.dtype:
        total.addmm_(slope.t(), rows)
    else:
        total += slope.t() @ rows
