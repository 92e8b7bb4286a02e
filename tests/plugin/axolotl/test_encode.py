"""Rows to columns: exactly the recorded tokens and log-probs, and an error that names the row for everything else."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axolotl.utils.dict import DictDefault
from datasets import load_dataset
from transformers import AutoTokenizer

from mindgap_axolotl.chat_template import load
from mindgap_data.errors import UserError
from mindgap_data.policy.chat import ChatTokenizer
from rewritten import write_rewritten, write_rows
from tiny import save_tiny_model

STRATEGY = "mindgap_axolotl.chat_template"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny-model")


@pytest.fixture(scope="module")
def records(model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return write_rewritten(model, tmp_path_factory.mktemp("rows") / "rows.jsonl", 4)


@pytest.fixture(scope="module")
def tokenizer(model: Path) -> Any:
    return AutoTokenizer.from_pretrained(model)


@pytest.fixture
def encode(model: Path, tokenizer: Any, tmp_path: Path) -> Callable[..., Any]:
    """Rows through the strategy as Axolotl calls it, by way of a file."""

    def run(rows: list[dict[str, Any]], **changes: Any) -> Any:
        path = write_rows(tmp_path / "out.jsonl", rows)
        entry = {"path": str(path), "type": STRATEGY}
        cfg = DictDefault({"base_model": str(model), "sequence_len": 512, "datasets": [entry], **changes})
        dataset = load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
        return load(tokenizer, cfg, DictDefault(entry)).wrap_dataset(dataset, process_count=1)

    return run


@pytest.fixture
def refusal(encode: Callable[..., Any], tmp_path: Path) -> Callable[..., str]:
    """The error for some rows, without the file's name."""

    def run(rows: list[dict[str, Any]], **changes: Any) -> str:
        with pytest.raises(UserError) as error:
            encode(rows, **changes)
        prefix = f"{tmp_path / 'out.jsonl'}: "
        assert error.value.message.startswith(prefix)
        return error.value.message.removeprefix(prefix)

    return run


def edited(row: dict[str, Any], **changes: Any) -> dict[str, Any]:
    row = json.loads(json.dumps(row))
    for name, value in changes.items():
        if value is ...:
            del row[name]
        else:
            row[name] = value
    return row


def of_provenance(row: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return edited(row, provenance={**row["provenance"], **changes})


def test_the_recorded_tokens_and_log_probs_stand_after_the_prompt(
    encode: Callable[..., Any], records: list[dict[str, Any]], tokenizer: Any
) -> None:
    chat = ChatTokenizer(tokenizer, "tiny")
    encoded = encode(records)
    assert len(encoded) == len(records)
    for row, columns in zip(records, encoded, strict=True):
        prompt, ids = list(chat.prompt_ids(row["messages"][:-1])), row["response_token_ids"]
        nothing = [math.nan] * len(prompt)
        assert columns["input_ids"] == prompt + ids
        assert columns["attention_mask"] == [1] * len(prompt + ids)
        assert columns["labels"] == [-100] * len(prompt) + ids
        assert columns["tier"] == [("self", "guided", "expert").index(row["tier"])] * len(prompt + ids)
        behavior = row["behavior_logprobs"] or [math.nan] * len(ids)
        np.testing.assert_array_equal(columns["behavior_logprobs"], np.float32(nothing + behavior))
        np.testing.assert_array_equal(columns["policy_logprobs"], np.float32(nothing + row["policy_logprobs"]))


def test_text_is_never_tokenised_again(encode: Callable[..., Any], records: list[dict[str, Any]]) -> None:
    other = edited(records[0], messages=[records[0]["messages"][0], {"role": "assistant", "content": "other text"}])
    assert encode([other])[0]["labels"] == encode([records[0]])[0]["labels"]


def test_unknown_columns_pass(encode: Callable[..., Any], records: list[dict[str, Any]]) -> None:
    assert set(encode([edited(records[0], source="gsm8k", difficulty=3)]).column_names) == {
        "input_ids",
        "attention_mask",
        "labels",
        "tier",
        "behavior_logprobs",
        "policy_logprobs",
        "pass_rate",
        "row_id",
    }


@pytest.mark.parametrize(
    ("index", "changes", "message"),
    [
        (0, {"policy_logprobs": ...}, "row 1 (id q0): field policy_logprobs: field required"),
        (0, {"behavior_logprobs": ...}, "row 1 (id q0): field behavior_logprobs: field required"),
        (0, {"response_token_ids": ..., "response": [1]}, "row 1 (id q0): field response_token_ids: field required"),
        (0, {"tier": "teacher"}, "row 1 (id q0): field tier: input should be 'self', 'guided' or 'expert'"),
        (0, {"behavior_logprobs": None}, "row 1 (id q0): behavior_logprobs is null in a self row"),
        (0, {"response_token_ids": []}, "row 1 (id q0): field response_token_ids: list should have at least 1 item "
         "after validation, not 0"),
        (0, {"behavior_logprobs": [-0.5]}, "row 1 (id q0): behavior_logprobs has 1 values for 13 response_token_ids"),
        (0, {"policy_logprobs": [-0.5] * 12 + [math.nan]}, "row 1 (id q0): policy_logprobs[12] is nan, not a "
         "log-probability"),
        (0, {"policy_logprobs": [0.5] + [-1] * 12}, "row 1 (id q0): policy_logprobs[0] is 0.5, not a log-probability"),
        (0, {"response_token_ids": [1] * 12 + [259]}, "row 1 (id q0): response_token_ids holds 259, outside the "
         "tokenizer's vocabulary of 259"),
        (0, {"response_token_ids": [-1] * 13}, "row 1 (id q0): response_token_ids holds a negative id"),
        (0, {"messages": [{"role": "user", "content": "x"}]}, "row 1 (id q0): field messages: the last turn is 'user', "
         "not the assistant's response"),
    ],
)  # fmt: skip
def test_bad_rows(
    refusal: Callable[..., str], records: list[dict[str, Any]], index: int, changes: dict[str, Any], message: str
) -> None:
    assert refusal([edited(records[index], **changes)]) == message


def test_the_row_is_named_by_its_place_and_id(refusal: Callable[..., str], records: list[dict[str, Any]]) -> None:
    bad = edited(records[2], behavior_logprobs=None)
    assert refusal([*records[:2], bad, records[3]]) == "row 3 (id q2): behavior_logprobs is null in a guided row"


def test_a_file_of_another_version(refusal: Callable[..., str], records: list[dict[str, Any]]) -> None:
    message = "row 1 (id q0): provenance.schema_version is 2; this mindgap reads version 1"
    assert refusal([of_provenance(records[0], schema_version=2)]) == message


@pytest.mark.parametrize(("field", "what"), [("tokenizer", "tokenizer"), ("chat_template", "chat template")])
def test_another_tokenizer_or_template(
    refusal: Callable[..., str], records: list[dict[str, Any]], model: Path, field: str, what: str
) -> None:
    ours = records[0]["provenance"][field]
    for changes in ({}, {"mindgap": {"allow_other_model": True}}):
        found = refusal([of_provenance(records[0], **{field: "sha256:0123456789abcdef"})], **changes)
        assert found == (
            f"row 1 (id q0): the row was made with another {what} (sha256:0123456789abcdef, model {model}) than this "
            f"run's ({ours}, base_model {model}); rewrite with this model, or train {model} with its own {what}"
        )


def test_a_template_set_in_the_recipe_is_compared(refusal: Callable[..., str], records: list[dict[str, Any]]) -> None:
    assert "the row was made with another chat template (sha256:" in refusal(records, chat_template="llama3")


def test_another_model(encode: Callable[..., Any], refusal: Callable[..., str], records: list[dict[str, Any]]) -> None:
    rows = [of_provenance(records[0], model="Qwen/Qwen2.5-7B")]
    model = records[0]["provenance"]["model"]
    assert refusal(rows) == (
        f"row 1 (id q0): the row was rewritten for model Qwen/Qwen2.5-7B and this run trains {model}; rewrite with "
        "this model, or set mindgap.allow_other_model: true if the two are the same weights"
    )
    assert len(encode(rows, mindgap={"allow_other_model": True})) == 1


@pytest.mark.parametrize("name", ["Org/tiny-model", "builtin:tiny-model", "elsewhere/Tiny-Model/"])
def test_a_local_copy_of_the_model_fits(encode: Callable[..., Any], records: list[dict[str, Any]], name: str) -> None:
    assert len(encode([of_provenance(records[0], model=name)])) == 1


def test_another_adapter(
    encode: Callable[..., Any], refusal: Callable[..., str], records: list[dict[str, Any]]
) -> None:
    second_round = [of_provenance(records[0], adapter="runs/round1", round=1)]
    assert refusal(second_round) == (
        "row 1 (id q0): the row was rewritten with adapter runs/round1 and this run starts from lora_model_dir: None; "
        "make them the same, or set mindgap.allow_other_model: true"
    )
    assert refusal(records, lora_model_dir="runs/round1") == (
        "row 1 (id q0): the row was rewritten with adapter None and this run starts from lora_model_dir: runs/round1; "
        "make them the same, or set mindgap.allow_other_model: true"
    )
    assert len(encode(second_round, lora_model_dir="runs/round1")) == 1
    # Drawn by the base model, kept and scored under the adapter, beside a row that the adapter drew itself.
    policy = {"model": records[1]["provenance"]["model"], "revision": None, "adapter": "runs/round1"}
    policy |= {"engine": "transformers", "dtype": "float32"}
    past = {**policy, "adapter": None, "round": 0, "tier": "self", "seed": 0, "attempts": records[1]["attempts"]}
    kept = of_provenance(records[1], round=1, drawn_in=0, policy=policy, rounds=[past])
    assert len(encode([*second_round, kept], lora_model_dir="runs/round1")) == 2
    assert refusal([kept]).startswith("row 1 (id q1): the row was rewritten with adapter runs/round1 and")


def plain_row(text: str = "It is 5.") -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "What is 2 + 3?"}, {"role": "assistant", "content": text}]}


def test_plain_rows_are_the_stock_strategys_in_the_expert_tier(
    encode: Callable[..., Any], records: list[dict[str, Any]], tokenizer: Any, model: Path
) -> None:
    from axolotl.prompt_strategies.chat_template import load as stock_load

    cfg = DictDefault({"base_model": str(model), "sequence_len": 512})
    stock = stock_load(tokenizer, cfg, ds_cfg={"type": "chat_template"}).tokenize_prompt(plain_row())
    mixed = encode([records[0], plain_row(), records[1]])
    assert {name: mixed[1][name] for name in stock} == dict(stock)
    assert set(mixed[1]["tier"]) == {2}
    assert np.isnan(mixed[1]["behavior_logprobs"]).all()
    assert np.isnan(mixed[1]["policy_logprobs"]).all()
    assert mixed[2]["labels"] == encode([records[1]])[0]["labels"]


def test_plain_rows_are_noticed(
    encode: Callable[..., Any], records: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said: list[str] = []
    monkeypatch.setattr("mindgap_axolotl.chat_template.LOG.warning", said.append)
    encode([records[0], plain_row()])
    assert said == [
        f"{tmp_path / 'out.jsonl'}: 1 of 2 rows have no response_token_ids; they are trained as plain SFT rows, in the "
        "expert tier"
    ]


@pytest.mark.parametrize(
    ("row", "changes", "message"),
    [
        (
            {"question": "2 + 3", "solution": "5"},
            {},
            "row 1: neither a rewritten row (no response_token_ids) nor a plain SFT row (no messages); its columns are "
            "question, solution",
        ),
        (
            {"messages": [{"role": "user", "content": "x"}]},
            {},
            "row 1: no trainable token: the conversation has no assistant turn",
        ),
        (
            plain_row(),
            {"mindgap": {"expert_behavior": "reference"}},
            "row 1: the row has no response_token_ids (a plain SFT row?): policy_logprobs is missing in an expert row, "
            "and expert_behavior: reference needs them; use expert_behavior: dft or unit",
        ),
    ],
)
def test_bad_plain_rows(
    refusal: Callable[..., str], row: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    assert refusal([row], **changes) == message


def test_options_that_need_log_probs_a_row_lacks(refusal: Callable[..., str], records: list[dict[str, Any]]) -> None:
    assert refusal([records[3]], mindgap={"expert_behavior": "logged"}) == (
        "row 1 (id q3): behavior_logprobs is null in an expert row, and expert_behavior: logged needs them; use "
        "expert_behavior: dft, unit or reference"
    )


def test_truncation_cuts_every_column_alike(encode: Callable[..., Any], records: list[dict[str, Any]]) -> None:
    whole = encode(records)
    length = min(len(row["input_ids"]) for row in whole) - 2
    cut = encode(records, sequence_len=length, excess_length_strategy="truncate")
    for before, after in zip(whole, cut, strict=True):
        for name in whole.column_names:
            np.testing.assert_array_equal(after[name], before[name][:length])


def test_longer_rows_are_left_to_axolotl_unless_it_truncates(
    encode: Callable[..., Any], records: list[dict[str, Any]]
) -> None:
    assert encode(records, sequence_len=10)[0]["input_ids"] == encode(records)[0]["input_ids"]


def test_a_row_whose_response_is_cut_off_is_dropped(
    encode: Callable[..., Any], refusal: Callable[..., str], records: list[dict[str, Any]]
) -> None:
    long_prompt = edited(records[0], messages=[{"role": "user", "content": "x" * 100}, records[0]["messages"][1]])
    kept = encode([long_prompt, records[1]], sequence_len=100, excess_length_strategy="truncate")
    assert [row["labels"] for row in kept] == [encode([records[1]])[0]["labels"]]
    assert refusal([long_prompt], sequence_len=100, excess_length_strategy="truncate") == (
        "no row has a trained token within sequence_len: 100; raise sequence_len"
    )


def test_streaming_is_refused(model: Path, tokenizer: Any, tmp_path: Path, records: list[dict[str, Any]]) -> None:
    path = write_rows(tmp_path / "out.jsonl", records)
    stream = load_dataset("json", data_files=str(path), split="train", streaming=True)
    cfg = DictDefault({"base_model": str(model), "sequence_len": 512})
    with pytest.raises(UserError, match="streaming drops the log-prob columns; remove streaming: true"):
        load(tokenizer, cfg, DictDefault({"path": str(path), "type": STRATEGY})).wrap_dataset(stream)


def test_unchecked_rows_have_no_pass_rate_to_train_with(refusal: Any, records: list[dict[str, Any]]) -> None:
    row = of_provenance(records[0], verifier_kind="unchecked")
    assert refusal([row], mindgap={"pass_rate": True}) == (
        "row 1 (id q0): the row is unchecked (--verifier none), so it has no pass rate; set mindgap.pass_rate: false"
    )
