"""Batches: tier, log-probs and samples stand under the tokens they belong to, and stock columns are stock."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from axolotl.utils.collators import (
    BatchSamplerDataCollatorForSeq2Seq,
    DataCollatorForSeq2Seq,
    V2BatchSamplerDataCollatorForSeq2Seq,
)
from transformers import AutoTokenizer

from mindgap_axolotl.collators import (
    COLUMNS,
    MindGapCollator,
    MindGapPackedCollator,
    MindGapPackedCollatorV2,
    collator_for,
    collator_kwargs,
)
from mindgap_data.errors import UserError
from tiny import save_tiny_tokenizer

NAN = float("nan")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    save_tiny_tokenizer(path)
    return path


@pytest.fixture(params=["right", "left"])
def tokenizer(folder: Path, request: pytest.FixtureRequest) -> Any:
    return AutoTokenizer.from_pretrained(folder, padding_side=request.param)


def sample(prompt: int, response: int, tier: int = 0, first: int = 5, behavior: bool = True) -> dict[str, Any]:
    """Response token i of a sample that starts with id ``first`` has behaviour -first-i and policy -2 (first+i)."""
    total = prompt + response
    ids = list(range(first, first + total))
    logs = np.array([NAN] * prompt + [-float(token) for token in ids[prompt:]], dtype=np.float32)
    return {
        "input_ids": ids,
        "attention_mask": [1] * total,
        "labels": [-100] * prompt + ids[prompt:],
        "position_ids": list(range(total)),
        "tier": [tier] * total,
        "behavior_logprobs": logs if behavior else np.full(total, NAN, dtype=np.float32),
        "policy_logprobs": 2 * logs,
        "pass_rate": np.full(total, 1 / first, dtype=np.float32),
    }


def stock_sample(prompt: int, response: int, first: int) -> dict[str, Any]:
    """A row of another dataset type in the same run: its extra columns are null."""
    return {**sample(prompt, response, first=first), **dict.fromkeys(COLUMNS)}


def without_fields(features: Any) -> Any:
    if isinstance(features, list):
        return [without_fields(feature) for feature in features]
    return {name: value for name, value in features.items() if name not in COLUMNS}


def assert_aligned(batch: Any, samples: list[dict[str, Any]]) -> None:
    """Every trained token has its own log-probs and its sample's tier; samples are told apart."""
    behavior, policy = (batch[name].view(torch.float32) for name in ("behavior_logprobs", "policy_logprobs"))
    trained = batch["labels"] != -100
    assert int(trained.sum()) == sum(label != -100 for s in samples for label in s["labels"])
    assert behavior.shape == policy.shape == batch["tier"].shape == batch["sample"].shape == batch["input_ids"].shape
    owner = {token: s for s in samples for token in s["input_ids"]}
    sample_of: dict[int, set[int]] = {}
    for row, column in trained.nonzero().tolist():
        token = int(batch["labels"][row, column])
        mine = owner[token]
        at = mine["input_ids"].index(token)
        for found, name in ((behavior, "behavior_logprobs"), (policy, "policy_logprobs")):
            wanted = NAN if mine[name] is None else mine[name][at]
            assert float(found[row, column]) == pytest.approx(wanted, nan_ok=True)
        assert int(batch["tier"][row, column]) == (2 if mine["tier"] is None else mine["tier"][at])
        sample_of.setdefault(mine["input_ids"][0], set()).add(int(batch["sample"][row, column]))
    assert all(len(numbers) == 1 for numbers in sample_of.values())
    assert len(set.union(*sample_of.values())) == len(samples)


SAMPLES = [sample(3, 4, 0, 5), sample(2, 6, 1, 20), sample(5, 2, 2, 40, behavior=False), stock_sample(1, 3, 60)]


@pytest.mark.parametrize("multiple", [None, 8, 64])
def test_padded(tokenizer: Any, multiple: int | None) -> None:
    batch = MindGapCollator(tokenizer, pad_to_multiple_of=multiple)(SAMPLES)
    stock = DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=multiple)(without_fields(SAMPLES))
    assert_aligned(batch, SAMPLES)
    assert {name: batch[name].tolist() for name in stock} == {name: stock[name].tolist() for name in stock}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (MindGapPackedCollator, BatchSamplerDataCollatorForSeq2Seq),
        (MindGapPackedCollatorV2, V2BatchSamplerDataCollatorForSeq2Seq),
    ],
)
@pytest.mark.parametrize(
    "features", [[SAMPLES[:3], SAMPLES[3:]], [SAMPLES], SAMPLES], ids=["two rows", "one row", "one row, flat"]
)
def test_packed(tokenizer: Any, ours: type, theirs: type, features: Any) -> None:
    batch = ours(tokenizer, pad_to_multiple_of=64)(features)
    stock = theirs(tokenizer, pad_to_multiple_of=64)(without_fields(features))
    assert_aligned(batch, SAMPLES)
    assert {name: batch[name].tolist() for name in stock} == {name: stock[name].tolist() for name in stock}


def test_rows_are_left_as_they_were(tokenizer: Any) -> None:
    row = sample(3, 4)
    MindGapCollator(tokenizer, pad_to_multiple_of=64)([row])
    assert len(row["input_ids"]) == 7
    assert set(row) == set(sample(3, 4))


@pytest.mark.parametrize("collator", [MindGapCollator, MindGapPackedCollatorV2])
def test_a_column_of_another_length_is_an_error(tokenizer: Any, collator: type) -> None:
    short = {**sample(3, 4), "behavior_logprobs": [-1.0] * 6}
    with pytest.raises(UserError) as error:
        collator(tokenizer)([short, sample(2, 2)])
    assert error.value.message == (
        "column behavior_logprobs has 6 values for 7 input_ids: something changed the rows after they were encoded; "
        "remove what does from the recipe"
    )


@pytest.mark.parametrize(
    ("cfg", "is_eval", "wanted"),
    [
        ({}, False, MindGapCollator),
        ({"sample_packing": True, "model_config_type": "llama"}, False, MindGapPackedCollatorV2),
        (
            {"sample_packing": True, "model_config_type": "llama", "attn_implementation": "flash_attention_2"},
            False,
            MindGapPackedCollatorV2,
        ),
        ({"sample_packing": True, "model_config_type": "unheard_of"}, False, MindGapPackedCollator),
        (
            {"sample_packing": True, "model_config_type": "unheard_of", "attn_implementation": "flex_attention"},
            False,
            MindGapPackedCollatorV2,
        ),
        ({"sample_packing": True, "eval_sample_packing": False, "model_config_type": "llama"}, True, MindGapCollator),
        ({"eval_sample_packing": True, "model_config_type": "llama"}, True, MindGapPackedCollatorV2),
    ],
)
def test_the_collator_axolotl_would_pick(cfg: dict[str, Any], is_eval: bool, wanted: type) -> None:
    from axolotl.core.builders.causal import HFCausalTrainerBuilder
    from axolotl.utils.dict import DictDefault

    cfg = DictDefault(cfg)
    builder = SimpleNamespace(
        cfg=cfg, tokenizer=None, _uses_deepspeed_sequence_parallel=lambda: False, _dispatches_batches=lambda *_: False
    )
    args = SimpleNamespace(
        pretraining=False,
        sample_packing=bool(cfg.sample_packing),
        eval_sample_packing=bool(cfg.eval_sample_packing),
    )
    stock = type(HFCausalTrainerBuilder.build_collator(builder, args, is_eval=is_eval, padding=True))
    assert collator_for(cfg, is_eval) is wanted
    assert issubclass(wanted, stock)


FLASH = {"sample_packing": True, "attn_implementation": "flash_attention_2", "model_config_type": "qwen2"}


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, True),
        ({"attn_implementation": "sdpa"}, False),
        ({"sample_packing": False}, False),
        ({"fa_varlen_kwargs_in_collator": False}, False),
        ({"model_config_type": "unheard-of"}, False),
        ({"accelerator_config": {"dispatch_batches": True}}, False),
    ],
)
def test_flash_attention_gets_its_lengths_where_the_stock_collator_gives_them(
    changes: dict[str, Any], wanted: bool, tokenizer: Any
) -> None:
    if not hasattr(DataCollatorForSeq2Seq, "emit_fa_varlen_kwargs"):
        assert collator_kwargs({**FLASH, **changes}, is_eval=False) == {}
        pytest.skip("Axolotl 0.19 has no such arguments; `make test-newest` runs this on 0.21")
    kwargs = collator_kwargs({**FLASH, **changes}, is_eval=False)
    assert kwargs == ({"emit_fa_varlen_kwargs": True} if wanted else {})
    features = [[sample(2, 3, first=5), sample(1, 4, first=20)]]
    batch = MindGapPackedCollatorV2(tokenizer, **kwargs)(features)
    assert ("cu_seq_lens_q" in batch) == ("emit_fa_varlen_kwargs" in kwargs and bool(batch["attention_mask"].all()))
    if wanted:
        stock = V2BatchSamplerDataCollatorForSeq2Seq(tokenizer, **kwargs)(without_fields(features))
        for name in ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k"):
            assert np.array_equal(batch[name], stock[name]), name
