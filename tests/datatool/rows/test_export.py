"""Each exported file is read back by the trainer's own loader where that installs, else by `datasets`."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from good_record import record
from mindgap_data.commands import main
from tiny import save_tiny_tokenizer

HOSTILE = 'Say "\u2028" {{ x }} </s> \U0001f600 <|im_end|>\n---\n'
HISTORY = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": HOSTILE},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "2 + 2?"},
    {"role": "assistant", "content": "4"},
]
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":2,"b":2}'}}
TOOL_TURNS = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "", "tool_calls": [CALL]}]
TOOLS = '[{"type":"function","function":{"name":"add","parameters":{"type":"object"}}}]'


def exported(tmp_path: Path, target: str, *rows: dict[str, Any]) -> Path:
    source = tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows or (record(), record(id="r2", messages=HISTORY))))
    result = CliRunner().invoke(main, ["export", str(source), "--to", target], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    path = next(tmp_path.glob(f"out.{target}.*"))
    assert result.output == f"{path}: {len(rows) or 2} rows for {target}\n"
    return path


def load(path: Path, tmp_path: Path) -> Any:
    from datasets import load_dataset

    kind = "parquet" if path.suffix == ".parquet" else "json"
    return load_dataset(kind, data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))


def own_loader(module: str) -> Any:
    return pytest.importorskip(module, reason=f"{module} is not installed here: only `datasets` has read its file")


def without_none(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in turn.items() if value is not None} for turn in turns]


def test_trl_renders_prompt_and_completion_as_the_chat_template_does(tmp_path: Path) -> None:
    own_loader("trl")
    from transformers import AutoTokenizer
    from trl.data_utils import apply_chat_template, is_conversational

    save_tiny_tokenizer(tmp_path / "tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    rows = load(exported(tmp_path, "trl"), tmp_path)
    for row, messages in zip(rows, (record()["messages"], HISTORY), strict=True):
        example = {"prompt": row["prompt"], "completion": row["completion"]}
        assert is_conversational(example)
        rendered = apply_chat_template(example, tokenizer)
        assert rendered["prompt"] + rendered["completion"] == tokenizer.apply_chat_template(messages, tokenize=False)
        assert rendered["completion"] == "4<|im_end|>\n"


def test_trl_gets_calls_and_tools(tmp_path: Path) -> None:
    row = load(exported(tmp_path, "trl", record(messages=TOOL_TURNS, tools=TOOLS)), tmp_path)[0]
    assert row["completion"][0]["tool_calls"] == [CALL]
    assert row["tools"] == TOOLS


def test_llamafactory_is_told_of_the_file_beside_those_it_knows(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text('{"other": {"file_name": "x.json"}}')
    path = exported(tmp_path, "llamafactory")
    info = json.loads((tmp_path / "dataset_info.json").read_text())
    assert info["other"] == {"file_name": "x.json"}
    entry = info["out.llamafactory"]
    assert (entry["file_name"], entry["formatting"]) == (path.name, "sharegpt")
    rows, tags = load(path, tmp_path), entry["tags"]
    turns = rows[1][entry["columns"]["messages"]]
    roles = {tags["system_tag"], tags["user_tag"], tags["assistant_tag"]}
    assert {turn[tags["role_tag"]] for turn in turns} <= roles
    assert [turn[tags["content_tag"]] for turn in turns] == [turn["content"] for turn in HISTORY]


def test_llamafactorys_own_converter_reads_it(tmp_path: Path) -> None:
    own_loader("llamafactory")
    from llamafactory.data.parser import get_dataset_list

    exported(tmp_path, "llamafactory")
    assert get_dataset_list(["out.llamafactory"], str(tmp_path))[0].formatting == "sharegpt"


def test_swift_trains_the_last_turn_alone(tmp_path: Path) -> None:
    rows = load(exported(tmp_path, "swift"), tmp_path)
    assert without_none(rows[1]["messages"]) == [*HISTORY[:2], {**HISTORY[2], "loss": False}, *HISTORY[3:]]


def test_swifts_own_preprocessor_reads_it(tmp_path: Path) -> None:
    own_loader("swift")
    from swift.dataset import load_dataset

    train, _ = load_dataset([str(exported(tmp_path, "swift"))])
    assert without_none(train[1]["messages"]) == [*HISTORY[:2], {**HISTORY[2], "loss": False}, *HISTORY[3:]]


def test_verl_has_the_columns_of_both_its_trainers(tmp_path: Path) -> None:
    row = load(exported(tmp_path, "verl"), tmp_path)[1]
    assert row["messages"] == HISTORY
    assert row["prompt"] == HISTORY[:-1]
    assert row["reward_model"] == {"style": "rule", "ground_truth": "4"}
    assert row["extra_info"] == {"id": "r2", "tier": "self", "pass_rate": 1.0}


def test_verls_own_dataset_reads_it(tmp_path: Path) -> None:
    own_loader("verl")
    from transformers import AutoTokenizer
    from verl.utils.dataset.multiturn_sft_dataset import MultiTurnSFTDataset

    save_tiny_tokenizer(tmp_path / "tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    assert len(MultiTurnSFTDataset(str(exported(tmp_path, "verl")), tokenizer, {})) == 2


def test_openai_weighs_the_last_turn_alone_and_gets_tools_as_objects(tmp_path: Path) -> None:
    path = exported(tmp_path, "openai", record(messages=HISTORY), record(messages=TOOL_TURNS, tools=TOOLS))
    first, second = map(json.loads, path.read_text().removesuffix("\n").split("\n"))
    assert first == {"messages": [*HISTORY[:2], {**HISTORY[2], "weight": 0}, *HISTORY[3:]]}
    assert second == {"messages": TOOL_TURNS, "tools": json.loads(TOOLS)}


@pytest.mark.parametrize("target", ["llamafactory", "swift", "verl"])
def test_a_thought_stands_in_tags_before_the_text(target: str, tmp_path: Path) -> None:
    turns = [HISTORY[-2], {**HISTORY[-1], "reasoning_content": "two and two"}]
    row = load(exported(tmp_path, target, record(messages=turns)), tmp_path)[0]
    assert row["messages"][-1]["content"] == "<think>\ntwo and two\n</think>\n\n4"


@pytest.mark.parametrize("target", ["llamafactory", "swift", "verl"])
def test_a_call_that_the_format_cannot_hold_is_refused_and_nothing_is_left(target: str, tmp_path: Path) -> None:
    source = tmp_path / "out.jsonl"
    source.write_text(json.dumps(record(messages=TOOL_TURNS, tools=TOOLS)) + "\n")
    result = CliRunner().invoke(main, ["export", str(source), "--to", target])
    assert (result.exit_code, result.output) == (
        2,
        f"Error: row 'r1' of line 1: a turn of a tool has no place in the format of {target}; "
        "export it --to trl or openai\n",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_an_output_that_exists_is_kept(tmp_path: Path) -> None:
    path = exported(tmp_path, "trl")
    result = CliRunner().invoke(main, ["export", str(tmp_path / "out.jsonl"), "--to", "trl"])
    assert (result.exit_code, result.output) == (
        2,
        f"Error: {path}: exists already; choose another -o, or replace it with --overwrite\n",
    )
