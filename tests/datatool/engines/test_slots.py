"""Continuous batching against passes of one row: positions, windows, moves, memory, and reruns bit for bit."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from mindgap_data.engines import Completion, Draw, Recalled, Sampling
from mindgap_data.engines.slots import Slots
from mindgap_data.engines.transformers import TransformersEngine
from mindgap_data.errors import UserError
from mindgap_data.policy.models import ModelSpec, load_tokenizer
from tiny import save_tiny_model, save_tiny_tokenizer

SMALL = {
    "vocab_size": 259,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
END = (258,)


def tiny(architecture: str = "Llama", **extra: Any) -> Any:
    torch.manual_seed(0)
    names = {"Gemma3": "Gemma3TextConfig"}
    config = getattr(transformers, names.get(architecture, f"{architecture}Config"))(**{**SMALL, **extra})
    return getattr(transformers, f"{architecture}ForCausalLM")(config).eval()


def draws(count: int, longest_prompt: int = 40, cap: int = 20) -> list[Draw]:
    """Prompts and caps of very different lengths, some prompts drawn from several times."""
    made = []
    for n in range(count):
        length = 1 + (7 * (n // 2)) % longest_prompt
        made.append(Draw(str(n), tuple((3 * n // 2 + i) % 200 for i in range(length)), n, 1 + (11 * n) % cap))
    return made


def run(slots: Slots, requests: Sequence[Draw | Recalled]) -> dict[str, Completion | Recalled]:
    slots.queue.extend(requests)
    results: dict[str, Completion | Recalled] = {}
    while slots.in_flight:
        results.update((draw.key, result) for draw, result in slots.step())
    return results


def expect_true_logprobs(model: Any, requests: Sequence[Draw], results: dict[str, Any]) -> None:
    for draw in requests:
        ids = results[draw.key].token_ids
        with torch.no_grad():
            logits = model(torch.tensor([[*draw.prompt_ids, *ids]])).logits[0].log_softmax(-1)
        expected = [logits[len(draw.prompt_ids) - 1 + t, token].item() for t, token in enumerate(ids)]
        assert results[draw.key].logprobs == pytest.approx(expected, abs=3e-5), draw.key


@pytest.mark.parametrize(
    ("architecture", "extra"),
    [
        ("Llama", {}),
        ("Mistral", {"sliding_window": 8}),
        ("Qwen3", {"head_dim": 8}),
        ("Gemma2", {"head_dim": 8, "sliding_window": 8, "final_logit_softcapping": 5.0}),
        ("Gemma3", {"head_dim": 8, "sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}),
        ("Cohere2", {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}),
        ("Phi3", {"sliding_window": 8}),
    ],
)
def test_every_row_is_at_its_own_position(architecture: str, extra: dict[str, Any]) -> None:
    model = tiny(architecture, **extra)
    requests = draws(17)
    expect_true_logprobs(model, requests, run(Slots(model, Sampling(), END, 4), requests))


def test_rows_that_outlast_the_room_move_and_go_on() -> None:
    model = tiny()
    requests = [
        Draw("long", (5, 6, 7), 1, 300),
        *(Draw(f"short {n}", (8, 9), n, 40) for n in range(20)),
        Draw("late and long prompt", tuple(range(200)), 2, 150),
    ]
    results = run(Slots(model, Sampling(), (), 2), requests)
    assert len(results["long"].token_ids) == 300  # type: ignore[union-attr]
    expect_true_logprobs(model, requests, results)


def test_slots_are_full_while_draws_wait() -> None:
    slots = Slots(tiny(), Sampling(), END, 4)
    run(slots, draws(23))
    assert slots.occupancy == 1.0


def test_a_lost_draw_is_drawn_again_bit_for_bit_beside_recalled_ones() -> None:
    """A rerun knows all but the lost draws; these must come out as they were, though nothing else is computed."""
    model, requests = tiny(), draws(29)
    first = run(Slots(model, Sampling(), END, 4), requests)
    for lost in ({"13"}, {"2", "3", "28"}, {str(n) for n in range(10, 20)}):
        again = run(
            Slots(model, Sampling(), END, 4),
            [
                draw if draw.key in lost else Recalled(draw, len(first[draw.key].token_ids))  # type: ignore[union-attr]
                for draw in requests
            ],
        )
        assert {key: again[key] for key in lost} == {key: first[key] for key in lost}


def test_recalled_draws_alone_run_no_model() -> None:
    model, requests = tiny(), draws(9)
    slots = Slots(model, Sampling(), END, 4)

    def refuse(*_args: Any) -> None:
        raise AssertionError("the model ran")

    handle = model.register_forward_pre_hook(refuse)
    results = run(slots, [Recalled(draw, 3) for draw in requests])
    handle.remove()
    assert len(results) == 9


def test_a_cancelled_draw_gives_its_slot_to_the_next() -> None:
    slots = Slots(tiny(), Sampling(), (), 1)
    slots.queue.extend([Draw("a", (1, 2), 0, 100), Draw("b", (3,), 1, 2), Draw("c", (4,), 1, 2)])
    slots.step()
    slots.step()
    assert slots.cancel({"a", "b"}) == 2
    assert set(run(slots, [])) == {"c"}


def test_a_repetition_penalty_knows_prompt_and_response_of_its_row_alone() -> None:
    model, requests = tiny(), draws(11)
    results = run(Slots(model, Sampling(repetition_penalty=1.5), END, 3), requests)
    for draw in requests:
        ids = results[draw.key].token_ids  # type: ignore[union-attr]
        with torch.no_grad():
            logits = model(torch.tensor([[*draw.prompt_ids, *ids]])).logits[0]
        for t, token in enumerate(ids):
            row = logits[len(draw.prompt_ids) - 1 + t].clone()
            for seen in {*draw.prompt_ids, *ids[:t]}:
                row[seen] = row[seen] / 1.5 if row[seen] > 0 else row[seen] * 1.5
            got = results[draw.key].logprobs[t]  # type: ignore[union-attr]
            assert math.isclose(got, row.log_softmax(-1)[token].item(), abs_tol=3e-5)


def engine_of(folder: Path, slots: int) -> TransformersEngine:
    spec = ModelSpec(model=str(folder))
    return TransformersEngine(
        spec, tokenizer=load_tokenizer(spec), sampling=Sampling(), max_context=None, batch_size=slots
    )


def limit_memory(engine: TransformersEngine, rows: int) -> None:
    """From now on a pass of more than ``rows`` rows is out of memory, in the words of torch's CPU allocator."""

    def check(_module: Any, _args: Any, given: dict[str, Any]) -> None:
        if len(given.get("input_ids", ())) > rows:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:116] . DefaultCPUAllocator: can't allocate memory")

    engine.model.register_forward_pre_hook(check, with_kwargs=True)


def collect_all(engine: TransformersEngine) -> dict[str, Any]:
    results: dict[str, Any] = {}
    while engine.in_flight:
        results.update((request.key, result) for request, result in engine.collect())
    return results


def test_out_of_memory_shrinks_the_slots_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine, requests = engine_of(save_tiny_model(tmp_path), 8), draws(30)
    engine.submit(requests)
    engine.collect()
    limit_memory(engine, 3)
    capsys.readouterr()
    results = collect_all(engine)
    assert engine.slots == 2
    assert capsys.readouterr().err.splitlines() == [
        "out of memory with 8 rows at a time; going on with 4",
        "out of memory with 4 rows at a time; going on with 2",
    ]
    expect_true_logprobs(engine.model, [draw for draw in requests if draw.key in results], results)


def test_out_of_memory_with_one_row_ends_in_a_line_that_continues(tmp_path: Path) -> None:
    engine = engine_of(save_tiny_model(tmp_path), 2)
    limit_memory(engine, 0)
    engine.submit(draws(3))
    with pytest.raises(UserError) as caught:
        collect_all(engine)
    assert caught.value.message == (
        "out of memory with a single row; what is finished is kept: free some memory or lower --max-tokens, "
        "then run the same command again to continue"
    )


@pytest.mark.parametrize(
    ("architecture", "extra"),
    [
        ("Mamba", {"state_size": 4}),
        ("Qwen3Next", {"head_dim": 8, "layer_types": ["linear_attention", "full_attention"], "num_experts": 0}),
        ("Jamba", {"use_mamba_kernels": False, "num_experts": 1, "attn_layer_offset": 1, "attn_layer_period": 2}),
    ],
)
def test_a_model_with_another_kind_of_cache_is_refused_by_name(
    tmp_path: Path, architecture: str, extra: dict[str, Any]
) -> None:
    model = tiny(architecture, **extra)
    model.save_pretrained(tmp_path)
    save_tiny_tokenizer(tmp_path)
    with pytest.raises(UserError) as caught:
        engine_of(tmp_path, 2)
    assert caught.value.message == (
        f"model '{tmp_path}': its architecture ({model.config.model_type}) keeps more between tokens than keys and "
        "values (a Mamba state, for example), which --engine transformers cannot do; use --engine vllm"
    )
