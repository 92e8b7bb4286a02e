"""Packed linear layers give what the plain ones do, in any shape, and nothing else is touched."""

import pytest
import torch
from torch import nn

from mindgap_data.engines import packing


@pytest.mark.parametrize("shape", [(1, 5), (3, 1, 5), (2, 7, 5), (100, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_packed_products_are_the_plain_ones(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer, inputs = nn.Linear(5, 11, bias=bias), torch.randn(*shape)
    with torch.inference_mode():
        plain = layer(inputs)
        packing.pack_linear_layers(nn.Sequential(layer), 4)
        assert "forward" in vars(layer)
        assert torch.allclose(layer(inputs), plain, atol=1e-6)


def test_other_layers_and_other_precisions_are_left_alone() -> None:
    class Own(nn.Linear): ...

    layers = nn.Sequential(Own(2, 2), nn.Linear(2, 2).bfloat16(), nn.Linear(2, 2).double(), nn.Conv1d(1, 1, 1))
    packing.pack_linear_layers(layers, 4)
    assert not any("forward" in vars(layer) for layer in layers)


def test_a_model_that_would_not_fit_twice_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Linear(64, 64)
    monkeypatch.setattr(packing, "_free_memory", lambda: 2 * 64 * 64 * 4 - 1)
    packing.pack_linear_layers(layer, 4)
    assert "forward" not in vars(layer)
