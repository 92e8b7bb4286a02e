"""The output projection of a causal language model: everything between its final hidden states and its logits."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Head:
    """logits = softcap(scale * (h W^T + bias + sum_i low_i up_i^T)), softcap(z) = cap tanh(z / cap).

    Attributes:
        weight: W [V, H], frozen or trained (``requires_grad``), possibly the tied input embedding.
        bias: [V] or None.
        scale: factor on the logits (Cohere ``logit_scale``, 1 / Granite ``logits_scaling``).
        softcap: Gemma 2's ``final_logit_softcapping``, or None.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None

    def logits(self, hidden: Tensor) -> Tensor:
        """[N, V] logits of hidden states [N, H], the plain formula (for tests and few tokens)."""
        z = self.scale * torch.nn.functional.linear(hidden, self.weight, self.bias)
        return z if self.softcap is None else self.softcap * torch.tanh(z / self.softcap)


def head_of(model: Any) -> Head:
    """The output projection of a Hugging Face causal language model, PEFT-wrapped or not.

    Raises:
        UserError: the head is of a kind whose loss would be wrong (named, with what to do).
    """
    lm_head = causal_lm_of(model).get_output_embeddings()
    return Head(lm_head.weight, getattr(lm_head, "bias", None))


def final_hidden_states(model: Any, **inputs: Any) -> Tensor:
    """Final hidden states [B, L, H] (after the last norm), without computing logits for them.

    Calls ``model`` itself, so that DDP, FSDP, PEFT and hooks see an ordinary forward; the head runs on
    the last position only, and its result is not used.

    Args:
        model: causal LM, possibly wrapped.
        inputs: its forward's arguments without labels.
    """
    found: list[Tensor] = []

    def keep(_module: Any, _args: Any, output: Any) -> None:
        found.append(output[0])

    handle = causal_lm_of(model).base_model.register_forward_hook(keep)
    try:
        model(**inputs, logits_to_keep=1)
    finally:
        handle.remove()
    return found[-1]


def causal_lm_of(model: Any) -> Any:
    """The Hugging Face model inside DDP, FSDP, torch.compile and PEFT wrappers."""
    while True:
        if hasattr(model, "_orig_mod"):
            model = model._orig_mod
        elif hasattr(model, "get_base_model"):
            model = model.get_base_model()
        elif not hasattr(model, "get_output_embeddings") and hasattr(model, "module"):
            model = model.module
        else:
            return model
