"""The prepared-dataset cache notices a changed file and a changed option."""

from pathlib import Path
from typing import Any

import pytest
from axolotl.utils.data import shared
from axolotl.utils.dict import DictDefault

from mindgap_axolotl.fingerprint import data_fingerprint, note_changes


def recipe(path: Path, **changes: Any) -> DictDefault:
    entry = {"path": str(path), "type": "mindgap_axolotl.chat_template"}
    return DictDefault({"base_model": "m", "sequence_len": 64, "datasets": [entry], **changes})


def cache_key(cfg: DictDefault) -> str:
    note_changes(cfg)
    return shared.generate_dataset_hash_from_config(cfg, cfg.datasets, "tokenizer")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "out.jsonl"
    path.write_text('{"a": 1}\n')
    return path


def test_the_same_recipe_has_the_same_key(rows: Path) -> None:
    assert cache_key(recipe(rows)) == cache_key(recipe(rows))


def test_a_changed_file_of_the_same_size(rows: Path) -> None:
    before = cache_key(recipe(rows))
    rows.write_text('{"a": 2}\n')
    assert cache_key(recipe(rows)) != before


def test_a_changed_file_in_a_folder_and_among_data_files(tmp_path: Path, rows: Path) -> None:
    def keys() -> list[str]:
        entry = {"path": "json", "data_files": [str(rows)], "type": "mindgap_axolotl.chat_template"}
        return [cache_key(recipe(tmp_path)), data_fingerprint({"datasets": [entry]})]

    before = keys()
    rows.write_text('{"a": 2}\n')
    assert all(new != old for new, old in zip(keys(), before, strict=True))


@pytest.mark.parametrize(
    "change",
    [
        {"mindgap": {"preset": "sft"}},
        {"mindgap": {"allow_other_model": True}},
        {"excess_length_strategy": "truncate"},
        {"base_model": "n"},
        {"lora_model_dir": "adapter"},
    ],
)
def test_a_changed_option(rows: Path, change: dict[str, Any]) -> None:
    assert cache_key(recipe(rows, **change)) != cache_key(recipe(rows))
