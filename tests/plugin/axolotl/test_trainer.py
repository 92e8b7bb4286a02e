"""Self-normalisation over a step: what an attempt left that ran out of memory does not count."""

from types import SimpleNamespace
from typing import Any

import torch

from mindgap_axolotl.metrics import WeightMetrics
from mindgap_axolotl.trainer import BatchWeights, _Restart
from mindgap_loss.options import LossOptions


def step(window: BatchWeights, model: torch.nn.Module, weights: list[float]) -> float:
    """One step of one micro-batch whose unnormalised gradient is 1 everywhere; what the gradient becomes."""
    accelerator: Any = SimpleNamespace(sync_gradients=True, reduce=lambda values, _: values)
    model.weight.grad = torch.ones(1, 1)
    window.add(torch.tensor(weights))
    window.normalise(torch.tensor(1.0), model, accelerator)
    return model.weight.grad.item()


def test_a_retried_step_is_scaled_by_its_own_weights() -> None:
    """auto_find_batch_size starts training anew after running out of memory in the middle of a step."""
    window, metrics = BatchWeights(torch.device("cpu")), WeightMetrics(LossOptions())
    model = torch.nn.Linear(1, 1, bias=False)
    assert step(window, model, [0.5, 0.5]) == 2.0
    window.add(torch.tensor([9.0, 9.0, 9.0]))  # a micro-batch of a step that never ended
    _Restart(window, metrics).on_train_begin()
    assert step(window, model, [0.5, 0.5]) == 2.0
