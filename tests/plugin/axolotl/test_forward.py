"""The taught forward against the plain formula: losses, gradients, wrappers and what it refuses."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from micro_batches import batch_of
from mindgap_axolotl.forward import MicroBatch, teach_loss
from mindgap_data.errors import UserError
from mindgap_loss.options import LossOptions
from tiny import save_tiny_model

NAN = float("nan")


@pytest.fixture
def model(tmp_path: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(save_tiny_model(tmp_path / "m"), dtype=torch.float32)


def naive(model: Any, inputs: dict[str, Any], columns: dict[str, Any], denominator: float) -> torch.Tensor:
    """preset: is by the formula, on full logits."""
    logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits[:, :-1]
    targets = inputs["labels"][:, 1:]
    p = logits.log_softmax(-1).gather(2, targets.clamp(min=0)[..., None])[..., 0]
    beta = columns["behavior_logprobs"].view(torch.float32)[:, 1:]
    expert = columns["tier"][:, 1:] == 2
    weight = torch.where(expert, p.exp(), (p - beta).exp().clamp(max=2.0)).detach()
    return -(weight * p)[targets != -100].sum() / denominator


def test_training_is_the_weighted_loss_with_its_gradient(model: Any) -> None:
    inputs, columns = batch_of()
    model.train()
    wanted = naive(model, inputs, columns, 50.0)
    wanted.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    teach_loss(model, LossOptions())
    batch = MicroBatch(inputs["labels"], columns, 50.0)
    loss = model(**inputs, num_items_in_batch=50, mindgap=batch)["loss"]
    loss.backward()
    torch.testing.assert_close(loss, wanted)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-6, msg=name)


def test_evaluation_is_the_plain_nll(model: Any) -> None:
    inputs, columns = batch_of()
    wanted = model(**inputs).loss
    teach_loss(model.eval(), LossOptions())
    batch = MicroBatch(inputs["labels"], columns, None)
    with torch.no_grad():
        loss = model(**inputs, mindgap=batch)["loss"]
    torch.testing.assert_close(loss, wanted)
    assert batch.output is not None
    assert batch.output.log_weights.shape == batch.targets.shape


def test_other_calls_get_the_models_own_forward(model: Any) -> None:
    inputs, _ = batch_of()
    before = model(**inputs)
    teach_loss(model, LossOptions())
    after = model(**inputs)
    assert torch.equal(before.logits, after.logits)
    assert torch.equal(before.loss, after.loss)


def test_no_full_logits_are_formed(model: Any) -> None:
    inputs, columns = batch_of()
    teach_loss(model, LossOptions())
    model(**inputs, mindgap=MicroBatch(inputs["labels"], columns, None))  # the first one checks the head
    called: list[Any] = []
    model.lm_head.register_forward_hook(lambda *args: called.append(args))
    model(**inputs, mindgap=MicroBatch(inputs["labels"], columns, None))
    assert called == []


def test_all_masked_is_a_zero_with_a_gradient(model: Any) -> None:
    inputs, columns = batch_of()
    inputs["labels"] = torch.full_like(inputs["labels"], -100)
    teach_loss(model.train(), LossOptions())
    loss = model(**inputs, mindgap=MicroBatch(inputs["labels"], columns, None))["loss"]
    loss.backward()
    assert loss.item() == 0
    assert model.model.layers[0].mlp.up_proj.weight.grad.abs().max() == 0


def test_through_peft_and_bfloat16_autocast(model: Any) -> None:
    """Log-probs pass wrappers that cast floats; the loss under autocast is near the float32 one."""
    from peft import LoraConfig, get_peft_model

    inputs, columns = batch_of()
    wrapped = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")).train()
    wanted = naive(wrapped, inputs, columns, 20.0)
    teach_loss(wrapped, LossOptions())
    batch = MicroBatch(inputs["labels"], columns, 20.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = wrapped(**inputs, mindgap=batch)["loss"]
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(wanted.item(), rel=0.05)
    assert torch.equal(batch.fields.policy, columns["policy_logprobs"].view(torch.float32)[inputs["labels"] != -100])
    assert wrapped.base_model.model.model.layers[0].mlp.up_proj.lora_B["default"].weight.grad.abs().max() > 0


def test_a_router_loss_is_refused(model: Any) -> None:
    model.config.output_router_logits = True
    with pytest.raises(UserError) as error:
        teach_loss(model, LossOptions())
    assert error.value.message == (
        "LlamaForCausalLM adds a router loss (output_router_logits: true), which the weighted loss would leave out; "
        "set output_router_logits: false in overrides_of_model_config"
    )


class ScaledLlama(LlamaForCausalLM):
    """An architecture whose forward does something to the logits that its config does not tell."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output.logits = output.logits * 0.5
        return output


@pytest.mark.parametrize("training", [True, False])
def test_unknown_logit_arithmetic_is_refused_at_the_first_micro_batch(training: bool) -> None:
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    torch.manual_seed(0)
    scaled = ScaledLlama(LlamaConfig(vocab_size=259, **small, initializer_range=0.3)).train(training)
    teach_loss(scaled, LossOptions())
    inputs, columns = batch_of()
    with pytest.raises(UserError, match=r"^ScaledLlama does more between its hidden states and its logits than"):
        scaled(**inputs, mindgap=MicroBatch(inputs["labels"], columns, None))
    assert scaled.training == training


def test_bfloat16_logits_are_no_unknown_arithmetic(model: Any) -> None:
    """Logits of 100 and more are half a nat apart in bfloat16."""
    low = model.to(torch.bfloat16)
    with torch.no_grad():
        low.lm_head.weight.mul_(30)
    teach_loss(low, LossOptions())
    inputs, columns = batch_of()
    assert low(**inputs, mindgap=MicroBatch(inputs["labels"], columns, None))["loss"].isfinite()


def test_fsdp2_gives_the_gradient_of_one_process(tmp_path: Path) -> None:
    """Axolotl's FSDP2 needs CUDA, so the forward is tested under torch's own, two processes with gloo."""
    model = save_tiny_model(tmp_path / "m")
    torch.multiprocessing.spawn(fsdp2_worker, args=(2, str(model), str(tmp_path)), nprocs=2)


def fsdp2_worker(rank: int, world: int, model_dir: str, folder: str) -> None:
    import torch.distributed as dist
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    torch.set_num_threads(1)
    parts = [batch_of(seed=0), batch_of(seed=1)]
    whole = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).train()
    sum(naive(whole, inputs, columns, 60.0) for inputs, columns in parts).backward()

    sharded = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).train()
    teach_loss(sharded, LossOptions())
    mesh = dist.device_mesh.init_device_mesh("cpu", (world,))
    for layer in sharded.model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=MixedPrecisionPolicy(cast_forward_inputs=True))
    fully_shard(sharded, mesh=mesh, mp_policy=MixedPrecisionPolicy(cast_forward_inputs=True))
    inputs, columns = parts[rank]
    # Gradients are averaged over ranks, hence the factor, as the trainer applies it.
    loss = sharded(**inputs, mindgap=MicroBatch(inputs["labels"], columns, 60.0))["loss"] * world
    loss.backward()
    wanted = dict(whole.named_parameters())
    for name, parameter in sharded.named_parameters():
        torch.testing.assert_close(parameter.grad.full_tensor(), wanted[name].grad, rtol=1e-4, atol=1e-6, msg=name)
    dist.destroy_process_group()


def test_fsdp2_refuses_unknown_logit_arithmetic(tmp_path: Path) -> None:
    """Where no process has the whole head before the first forward."""
    torch.multiprocessing.spawn(refusing_worker, args=(2, str(tmp_path)), nprocs=2)


def refusing_worker(rank: int, world: int, folder: str) -> None:
    import torch.distributed as dist
    from torch.distributed.fsdp import fully_shard

    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    scaled = ScaledLlama(LlamaConfig(vocab_size=259, **small, initializer_range=0.3))
    teach_loss(scaled, LossOptions())
    mesh = dist.device_mesh.init_device_mesh("cpu", (world,))
    fully_shard(scaled.lm_head, mesh=mesh, reshard_after_forward=True)
    fully_shard(scaled, mesh=mesh)
    inputs, columns = batch_of()
    with pytest.raises(UserError, match=r"ScaledLlama does more between its hidden states and its logits than"):
        scaled(**inputs, mindgap=MicroBatch(inputs["labels"], columns, 60.0))
    dist.destroy_process_group()
