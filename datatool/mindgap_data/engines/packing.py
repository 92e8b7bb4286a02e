"""Linear layers on a CPU with their weights packed once, where torch's own packs them anew in every product."""

from functools import partial
from typing import Any

import torch
from torch import nn

MEMORY_SHARE = 0.5  # of what is free: the packed copy stands beside the weights


def pack_linear_layers(model: Any, rows: int) -> None:
    """Let the plain float32 linear layers of ``model`` run on packed weights, for products of about ``rows`` rows.

    A decoding step multiplies few rows with all weights, so packing them costs as much as multiplying:
    one and a half to two times as fast at 8 to 48 rows. Needs as much memory again as those weights, and
    leaves the model as it is where there is less than twice that or no oneDNN.
    """
    layers = [
        module
        for module in model.modules()
        # Exactly this class: quantised and adapted layers have products of their own.
        if type(module) is nn.Linear and module.weight.dtype == torch.float32 and module.weight.device.type == "cpu"
    ]
    size = sum(layer.weight.numel() * 4 for layer in layers)
    if not layers or not torch.backends.mkldnn.is_available() or size > MEMORY_SHARE * _free_memory():
        return
    for layer in layers:
        packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), rows)
        layer.forward = partial(_packed_linear, packed, layer.bias)  # type: ignore[method-assign]


def _packed_linear(packed: Any, bias: Any, inputs: Any) -> Any:
    return torch.ops.mkldnn._linear_pointwise(inputs, packed, bias, "none", [], "")


def _free_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().available)
