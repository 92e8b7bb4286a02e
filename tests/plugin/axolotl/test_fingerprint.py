"""The prepared-dataset cache notices a changed file and a changed option."""

from pathlib import Path
from typing import Any

import pytest
from axolotl.utils.data import shared
from axolotl.utils.dict import DictDefault

from mindgap_axolotl import fingerprint
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


@pytest.mark.parametrize("pattern", ["out*.jsonl", "**/*.jsonl", "o?t.jsonl"])
@pytest.mark.parametrize("where", ["path", "data_files", "split"])
def test_a_changed_file_behind_a_pattern(rows: Path, pattern: str, where: str) -> None:
    name = str(rows.parent / pattern)
    entry = {
        "path": {"path": name},
        "data_files": {"path": "json", "data_files": name},
        "split": {"path": "json", "data_files": {"train": [name]}},
    }[where]
    before = data_fingerprint({"datasets": [entry]})
    rows.write_text('{"a": 2}\n')
    assert data_fingerprint({"datasets": [entry]}) != before


def test_a_changed_remote_file() -> None:
    import fsspec

    url = "memory://bucket/out.jsonl"
    with fsspec.open(url, "w") as file:
        file.write('{"a": 1}\n')
    for name in (url, "memory://bucket/*.jsonl"):
        before = data_fingerprint({"datasets": [{"path": name}]})
        assert before == data_fingerprint({"datasets": [{"path": name}]})
        with fsspec.open(url, "w") as file:
            file.write(f'{{"a": "{name}"}}\n')
        assert data_fingerprint({"datasets": [{"path": name}]}) != before


@pytest.mark.parametrize("name", ["someone/dataset-of-the-hub", "nowhere/*.jsonl", "nosuchscheme://bucket/x.jsonl"])
def test_what_cannot_be_seen_is_warned_of(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(fingerprint.LOG, "warning", said.append)
    data_fingerprint({"datasets": [{"path": name}], "dataset_prepared_path": "prepared"})
    assert said == [
        f"{name}: its contents cannot be fingerprinted, so a later change goes unnoticed; delete "
        "dataset_prepared_path (prepared) when it changes"
    ]


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
