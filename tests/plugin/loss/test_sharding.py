"""The loss under FSDP2 in two real processes: the gradients of one process on the whole batch."""

import copy
import socket

import pytest
import torch
import torch.multiprocessing as mp
from torch import distributed as dist
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from architectures import lora, tiny
from mindgap_data.errors import UserError
from mindgap_data.policy.head import Head, final_hidden_states, head_of
from mindgap_loss.loss import log_probs, weighted_nll
from mindgap_loss.options import LossOptions
from mindgap_loss.sharding import gathered
from mindgap_loss.weights import TokenFields

WORLD = 2
VARIANTS = {  # whether the head is an FSDP unit of its own, frozen, tied to the embedding
    "head in the root": (False, False, False),
    "head a unit of its own": (True, False, False),
    "frozen unit of its own": (True, True, False),
    "tied": (False, False, True),
}


def model(tied: bool) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=61,  # odd, so that the shards differ in size
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            tie_word_embeddings=tied,
        )
    )


def micro_batch(rank: int) -> tuple[torch.Tensor, TokenFields]:
    generator = torch.Generator().manual_seed(rank)
    recorded = -4 - torch.rand(8, generator=generator)
    ids = torch.randint(0, 61, (1, 9), generator=generator)
    return ids, TokenFields(torch.full((8,), rank), recorded, recorded, torch.zeros(8, dtype=torch.int64))


def loss_of(llama, rank: int, options: LossOptions) -> torch.Tensor:
    """This rank's loss, over its own tokens: data parallelism averages it over the ranks."""
    ids, fields = micro_batch(rank)
    hidden = final_hidden_states(llama, input_ids=ids)[0][0, :-1]
    return weighted_nll(hidden, head_of(llama), ids[0, 1:], fields, options).loss


def worker(rank: int, port: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=WORLD)
    torch.set_num_threads(1)
    results = {name: sharded_run(rank, *variant) for name, variant in VARIANTS.items()}
    if rank == 0:
        torch.save(results, f"{folder}/results.pt")
    dist.barrier()
    dist.destroy_process_group()


def sharded_run(rank: int, own_unit: bool, frozen: bool, tied: bool) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Whole gradients by parameter, and rank 0's log-probs."""
    from torch.distributed.fsdp import fully_shard

    llama = model(tied)
    llama.lm_head.requires_grad_(not frozen)
    for layer in llama.model.layers:
        fully_shard(layer)
    if own_unit:  # sharded again as soon as its forward is over, so the loss meets a DTensor
        fully_shard(llama.lm_head, reshard_after_forward=True)
    fully_shard(llama)
    loss_of(llama, rank, LossOptions(level="sequence", clip_max=16, chunk_tokens=3)).backward()
    gradients = {name: p.grad.full_tensor() for name, p in llama.named_parameters() if p.grad is not None}
    ids, _ = micro_batch(0)
    with torch.no_grad():
        found = log_probs(final_hidden_states(llama, input_ids=ids)[0][0, :-1], head_of(llama), ids[0, 1:])
    return gradients, found


@pytest.fixture(scope="module", name="results")
def _results(tmp_path_factory):
    """All variants in one pair of processes: starting them is what takes the time."""
    folder = tmp_path_factory.mktemp("sharded")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(worker, (port, str(folder)), nprocs=WORLD)
    return torch.load(folder / "results.pt")


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_of_a_sharded_head_are_averaged_over_ranks(variant, results):
    gradients, found = results[variant]
    _, frozen, tied = VARIANTS[variant]
    llama = model(tied)
    llama.lm_head.requires_grad_(not frozen)
    options = LossOptions(level="sequence", clip_max=16)
    (sum(loss_of(llama, rank, options) for rank in range(WORLD)) / WORLD).backward()
    expected = {name: p.grad for name, p in llama.named_parameters() if p.grad is not None}
    assert gradients.keys() == expected.keys()
    assert ("lm_head.weight" in expected) == (not frozen and not tied)
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, msg=lambda m, name=name: f"{name}: {m}")

    ids, _ = micro_batch(0)
    plain = llama(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
    torch.testing.assert_close(found, plain.detach())


def test_a_trained_head_under_zero3_is_refused():
    weight = nn.Parameter(torch.zeros(3, 2))
    weight.ds_id = 0  # DeepSpeed's mark of a partitioned parameter

    def run():
        with gathered(Head(weight)):
            pass

    with pytest.raises(UserError) as caught:
        run()
    assert caught.value.message == (
        "a trained output head (full fine-tuning, LoRA or modules_to_save on lm_head) does not work under DeepSpeed "
        "ZeRO-3; freeze the head, or use FSDP2 or ZeRO-2"
    )


def test_gathering_whole_tensors_changes_nothing():
    head = head_of(copy.deepcopy(lora(tiny("Phi"), target_modules=["lm_head"])))
    with gathered(head) as full:
        assert all(a is b for a, b in zip(head.tensors(), full.tensors(), strict=True))
