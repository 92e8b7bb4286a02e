"""How often a micro-batch waits for the device: counted by the operations that would make a GPU's host wait."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM

from micro_batches import batch_of
from mindgap_axolotl.forward import MicroBatch, teach_loss
from mindgap_axolotl.metrics import WeightMetrics
from mindgap_loss.loss import weighted_nll
from mindgap_loss.options import LossOptions
from naive import problem
from tiny import save_tiny_model

# What reads a value back, or needs one for the shape of its result.
WAITING = {
    "_local_scalar_dense",
    "is_nonzero",
    "nonzero",
    "masked_select",
    "equal",
    "_unique2",
    "repeat_interleave",
    "bincount",
}


class Waits(TorchDispatchMode):
    """Counts operations that wait; a boolean mask as an index is one, since it looks for its nonzeros."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        if name in WAITING:
            self.seen[name] += 1
        if name == "lift_fresh" and args[0].ndim:  # torch.tensor of a list: copied to the device from pageable memory
            self.seen["a list copied"] += 1
        if name in ("index", "index_put", "index_put_") and any(
            x is not None and x.dtype == torch.bool for x in args[1]
        ):
            self.seen[f"{name} by mask"] += 1
        return function(*args, **(kwargs or {}))


OPTIONS = [
    {},
    {"level": "sequence"},
    {"preset": "eaft"},
    {"kl_coef": 0.1, "pass_rate": True, "clip": "mask"},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("trained", [False, True])
def test_the_loss_never_waits(options: dict[str, Any], trained: bool) -> None:
    of = problem(trained=trained, softcap=1.5)
    fields = type(of.fields)(of.fields.tier, of.fields.behavior, of.fields.policy, of.fields.sample, samples=3)
    head, denominator = of.head(), torch.tensor(13.0, dtype=torch.float64)
    with Waits() as waits:
        loss = weighted_nll(
            of.hidden, head, of.targets, fields, LossOptions(**options, chunk_tokens=4), denominator
        ).loss
        loss.backward()
    assert not waits.seen


@pytest.mark.parametrize("options", OPTIONS)
def test_a_micro_batch_waits_once_and_its_metrics_not_at_all(options: dict[str, Any], tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(save_tiny_model(tmp_path / "m"), dtype=torch.float32).train()
    teach_loss(model, LossOptions(**options))
    inputs, columns = batch_of()
    model(**inputs, mindgap=MicroBatch(inputs["labels"], columns, torch.tensor(50)))  # the first one checks the head
    metrics = WeightMetrics(LossOptions(**options))
    with Waits() as waits:
        batch = MicroBatch(inputs["labels"], columns, torch.tensor(50))
    assert waits.seen == {"nonzero": 1}
    with Waits() as model_alone, torch.no_grad():
        model.model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False)
    with Waits() as waits:
        loss = model(**inputs, mindgap=batch)["loss"]
        loss.backward()
        metrics.add(batch.output, batch.fields)
        metrics.add(batch.output, batch.fields)
    assert waits.seen - model_alone.seen == Counter()
