"""The output head of a causal language model: everything between its final hidden states and its logits.

Scoring and training both read the head from here, and both compare it with the model's own logits
before they use it. Needs torch, so the light parts of the tool do not import it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from mindgap_data.errors import UserError

FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Adapter:
    """A LoRA delta on the head: scaling * (dropout(h) A^T B^T + bias) (arXiv 2106.09685, eq. 3).

    Attributes:
        down: A [r, H].
        up: B [V, r].
        scaling: alpha / r, or what PEFT made of it.
        dropout: module applied to the hidden states on this path only.
        bias: of B, [V] or None.
    """

    down: Tensor
    up: Tensor
    scaling: float
    dropout: nn.Module
    bias: Tensor | None = None


@dataclass(frozen=True)
class Head:
    """logits = softcap(scale * (h W^T + bias + LoRA deltas)), softcap(z) = cap * tanh(z / cap).

    Attributes:
        weight: W [V, H], frozen or trained (``requires_grad``), possibly the tied input embedding.
        bias: [V] or None.
        scale: factor on the logits (Cohere's ``logit_scale``, 1 / Granite's ``logits_scaling``).
        softcap: cap of Gemma 2's ``final_logit_softcapping``, or None.
        adapters: active LoRA deltas.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None
    adapters: tuple[Adapter, ...] = ()

    def reduce(self, hidden: Tensor) -> Tensor | None:
        """The LoRA paths' inner activations of hidden states [N, H]: [N, sum of r], or None without LoRA."""
        if not self.adapters:
            return None
        return torch.cat([linear(a.dropout(hidden.to(a.down.dtype)), a.down) for a in self.adapters], dim=1)

    def up(self) -> Tensor | None:
        """What :meth:`reduce` is multiplied by: [V, sum of r], scaling included, or None without LoRA."""
        return torch.cat([a.up * a.scaling for a in self.adapters], dim=1) if self.adapters else None

    def total_bias(self) -> Tensor | None:
        """Bias [V] of the head and its LoRA deltas together, or None."""
        parts = [] if self.bias is None else [self.bias]
        parts += [a.bias * a.scaling for a in self.adapters if a.bias is not None]
        return sum(parts[1:], parts[0]) if parts else None

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits of hidden states.

        Args:
            hidden: [N, H], any floating dtype and device.

        Returns:
            [N, V], in float32, or float64 for a float64 head, on the head's device.
        """
        z = linear(hidden.to(self.weight), self.weight, self.total_bias())
        low, up = self.reduce(hidden), self.up()
        if low is not None and up is not None:
            z = z + (low @ up.t()).to(z.dtype)
        z = z.to(torch.promote_types(z.dtype, torch.float32)) * self.scale
        return z if self.softcap is None else torch.tanh(z / self.softcap) * self.softcap

    def tensors(self) -> list[Tensor]:
        """Every parameter of the head."""
        found = [self.weight, self.bias, *(t for a in self.adapters for t in (a.down, a.up, a.bias))]
        return [t for t in found if t is not None]


def head_of(model: Any) -> Head:
    """The output projection of a Hugging Face causal language model, PEFT-wrapped or not.

    It holds the parameters themselves, not copies; call it in every step, which costs nothing, since
    wrappers may swap parameters between steps.

    Args:
        model: causal LM, possibly inside DDP, FSDP2, torch.compile or PEFT.

    Raises:
        UserError: the head is of a kind whose loss would be wrong; names it and what to do.
    """
    causal_lm = causal_lm_of(model)
    module = causal_lm.get_output_embeddings()
    if module is None:
        raise UserError(f"{type(causal_lm).__name__} has no output head (lm_head); train a causal language model")
    adapters: tuple[Adapter, ...] = ()
    if hasattr(module, "base_layer"):
        adapters, module = _lora_of(module), module.base_layer
    weight, bias = module.weight, getattr(module, "bias", None)
    if weight.dtype not in FLOATS or weight.ndim != 2:
        raise UserError(
            f"the output head's weight is a {type(weight).__name__} of {weight.dtype}, shape {tuple(weight.shape)}: "
            "quantised and FSDP1-flattened heads are not supported; exclude lm_head from quantisation "
            "(llm_int8_skip_modules: [lm_head]), use FSDP2"
        )
    scale, softcap = _logit_transform(causal_lm)
    return Head(weight, bias, scale, softcap, adapters)


def final_hidden_states(model: Any, **inputs: Any) -> tuple[Tensor, Tensor]:
    """Final hidden states (after the last norm), without computing logits for all of them.

    Calls ``model`` itself, so that DDP, FSDP, PEFT and hooks see an ordinary forward; the head runs on
    the last position only.

    Args:
        model: causal LM, possibly wrapped.
        inputs: its forward's arguments without labels.

    Returns:
        Hidden states [B, L, H], and the model's own logits [B, V] of the last position, for :func:`check_head`.
    """
    found: list[Tensor] = []

    def keep(_module: Any, _args: Any, output: Any) -> None:
        found.append(output[0])

    handle = causal_lm_of(model).base_model.register_forward_hook(keep)
    try:
        output = model(**inputs, logits_to_keep=1)
    finally:
        handle.remove()
    return found[-1], output.logits[:, -1]


def check_head(model: Any, head: Head, hidden: Tensor, logits: Tensor) -> None:
    """Compare the head with the model's own logits: nothing may be scored or trained on other ones.

    Args:
        model: named in the error.
        head: from ``head_of(model)``, with whole tensors.
        hidden: [N, H], final hidden states.
        logits: [N, V], the model's own logits at the same positions.

    Raises:
        UserError: they differ by more than rounding; the model does something that :class:`Head` lacks.
    """
    with torch.no_grad():
        ours, theirs = head.logits(hidden).float(), logits.float()
        # Rounding is relative to the largest logit; up to four roundings of half an ulp lie between the two.
        rounding = max(torch.finfo(dtype).eps for dtype in (head.weight.dtype, hidden.dtype, logits.dtype))
        difference = float((ours - theirs.to(ours.device)).abs().max())
        allowed = max(1e-3, 2.5 * rounding) * float(theirs.abs().max())
    if not difference <= allowed:
        raise UserError(
            f"{type(causal_lm_of(model)).__name__} does more between its hidden states and its logits than mindgap "
            f"knows (logits differ by {difference:.3g}, and rounding explains {allowed:.3g}); "
            "this architecture is not supported"
        )


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


def _lora_of(layer: Any) -> tuple[Adapter, ...]:
    """Active LoRA deltas of a PEFT layer; none when they are disabled or merged into the weight."""
    if not hasattr(layer, "lora_A"):
        kind = f"{type(layer).__module__}.{type(layer).__name__}"
        raise UserError(f"{kind} on lm_head is not supported; use LoRA, or leave lm_head out")
    if layer.disable_adapters or layer.merged:
        return ()
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if any(name in layer.lora_variant for name in active):
        raise UserError("DoRA and other LoRA variants on lm_head are not supported; use plain LoRA there")
    return tuple(
        Adapter(
            layer.lora_A[name].weight,
            layer.lora_B[name].weight,
            float(layer.scaling[name]),
            layer.lora_dropout[name],
            layer.lora_B[name].bias,
        )
        for name in active
    )


def _logit_transform(causal_lm: Any) -> tuple[float, float | None]:
    """Factor on the logits, and cap of the soft-capping that follows it, of a Hugging Face architecture."""
    config = causal_lm.config.get_text_config()
    scale = 1.0
    # Config fields alone mislead (MPT has an unused logit_scale): Cohere's models hold theirs as an attribute.
    if getattr(causal_lm, "logit_scale", None) is not None:
        scale *= float(causal_lm.logit_scale)
    if hasattr(config, "logits_scaling"):
        multiplies = config.model_type.startswith("hyperclovax")  # Granite divides
        scale *= config.logits_scaling if multiplies else 1 / config.logits_scaling
    for name in ("lm_head_multiplier", "output_multiplier"):  # Falcon-H1, Muse
        scale *= getattr(config, name, None) or 1.0
    softcap = getattr(config, "final_logit_softcapping", None) or getattr(config, "output_logit_soft_cap", None)
    return scale, softcap
