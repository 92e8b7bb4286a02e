"""Refreshing: published adapters are PEFT's, new rows take their places, weights are of the policy that drew them."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from axolotl.utils.dict import DictDefault
from click.testing import CliRunner
from datasets import load_dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from mindgap_axolotl import refresh
from mindgap_axolotl.args import RefreshOptions
from mindgap_axolotl.chat_template import encoder_of, load
from mindgap_axolotl.collators import BATCH_COLUMNS, MindGapCollator
from mindgap_axolotl.forward import MicroBatch, teach_loss
from mindgap_axolotl.refresh import RefreshCallback, Staleness, adapter_weights, save_adapter
from mindgap_axolotl.refreshed import RefreshedRows
from mindgap_data.commands import main
from mindgap_data.errors import UserError
from mindgap_data.refresh.folder import Batch, RefreshFolder
from mindgap_loss.options import LossOptions
from refreshing import VERIFIED, publish, run_of, write_problems
from rewritten import write_rows
from tiny import save_tiny_model


class Home:
    """A tiny model, a rewritten file, a folder with an adapter of step 4 and the rows that the worker drew by it."""

    def __init__(self, path: Path) -> None:
        self.path, self.model = path, save_tiny_model(path / "tiny")
        self.problems = write_problems(path / "in.jsonl")
        self.data = path / "rows.jsonl"
        common = ["--model", str(self.model), *VERIFIED, "--quiet"]
        invoke("rewrite", str(self.problems), "-o", str(self.data), *common)
        self.folder = RefreshFolder(path / "shared")
        self.folder.claim(run_of(self.model), resumes=False)
        publish(self.folder, self.model, 4)
        invoke("refresh", str(self.problems), "--folder", str(self.folder.path), "--patience", "0.1", *common)

    def rows(self, **changes: Any) -> RefreshedRows:
        """The prepared rows, with nothing taken in yet."""
        entry = {"path": str(self.data), "type": "mindgap_axolotl.chat_template"}
        cfg = DictDefault({"base_model": str(self.model), "sequence_len": 512, "datasets": [entry], **changes})
        tokenizer = AutoTokenizer.from_pretrained(self.model)
        dataset = load_dataset("json", data_files=str(self.data), split="train", cache_dir=str(self.path / "cache"))
        prepared = load(tokenizer, cfg, DictDefault(entry)).wrap_dataset(dataset, process_count=1)
        return RefreshedRows(prepared, self.folder, encoder_of(tokenizer, cfg, DictDefault(entry)))

    def records(self) -> list[dict[str, Any]]:
        return [row for _, row in self.folder.records(Batch(4, 1))]


def invoke(*args: str) -> None:
    result = CliRunner().invoke(main, list(args), catch_exceptions=False)
    assert result.exit_code in (0, 2), result.output


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("refresh"))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is warned of."""
    lines: list[str] = []
    log = SimpleNamespace(warning=lines.append, info=lambda line: None)
    monkeypatch.setattr("mindgap_axolotl.refreshed.LOG", log)
    monkeypatch.setattr("mindgap_axolotl.refresh.LOG", log)
    return lines


@pytest.fixture
def republish(home: Home) -> Iterator[Any]:
    """Writes the batch again with changed rows; as it was afterwards."""
    file = home.folder.files(Batch(4, 1))
    before = file.read_text()

    def run(change: Any) -> None:
        rows = home.records()
        for row in rows:
            change(row)
        write_rows(file, rows)

    yield run
    file.write_text(before)


def log_ratios(model: Any, rows: RefreshedRows, tier: int) -> np.ndarray:
    """log pi - behaviour of the trained tokens of a tier, as the loss sees them."""
    tokenizer = AutoTokenizer.from_pretrained(model.name_or_path)
    batch = MindGapCollator(tokenizer, return_tensors="pt")([{**rows[index]} for index in range(len(rows))])
    columns = {name: batch[name] for name in BATCH_COLUMNS}
    micro = MicroBatch(batch["labels"], columns, None)
    with torch.no_grad():
        model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], mindgap=micro)
    assert micro.output is not None
    return micro.output.log_weights[micro.fields.tier == tier].double().numpy()


def test_a_row_drawn_by_the_very_weights_has_weight_1_and_the_row_before_it_has_not(home: Home) -> None:
    base = AutoModelForCausalLM.from_pretrained(home.model, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, home.folder.adapter(4)).eval()
    teach_loss(model, LossOptions())
    rows = home.rows()
    before = log_ratios(model, rows, tier=0)
    assert rows.take_in() == 1
    after = log_ratios(model, rows, tier=0)
    assert after.size > 0
    assert np.abs(after).max() < 1e-4  # six decimals in the file, float32 on both sides
    assert np.abs(before).max() > 0.1
    # Of a guided row the policy that drew it saw another prompt: its ratio is the prompt's, as recorded, not 1.
    guided = [row for row in home.records() if row["tier"] == "guided"]
    wanted = [p - b for row in guided for p, b in zip(row["policy_logprobs"], row["behavior_logprobs"], strict=True)]
    assert sorted(log_ratios(model, rows, tier=1)) == pytest.approx(sorted(wanted), abs=1e-4)


def test_new_rows_stand_in_the_places_of_the_old_ones(home: Home) -> None:
    rows = home.rows()
    assert (rows.last_tried, len(rows), rows.ids) == (0, 8, tuple(f"p{n}" for n in range(8)))
    old = [rows[index] for index in range(8)]
    assert "drawn_at" not in old[0]
    rows.take_in()
    assert rows.last_tried == 4
    for index, record in enumerate(home.records()):
        new = rows[index]
        assert new["row_id"] == old[index]["row_id"] == record["id"]
        assert [label for label in new["labels"] if label != -100] == record["response_token_ids"]
        assert set(new["drawn_at"]) == {4}
    assert rows.take_in() == 0  # nothing new


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            lambda row: row["provenance"].update(adapter_weights="sha256:other"),
            "not drawn by {adapter}, or the adapter has changed since",
        ),
        (
            lambda row: row["provenance"].update(training_step=3),
            "not drawn by {adapter}, or the adapter has changed since",
        ),
        (lambda row: row.pop("provenance"), "not drawn by {adapter}, or the adapter has changed since"),
        (
            lambda row: row["behavior_logprobs"] and row["behavior_logprobs"].pop(),
            None,  # the record's own check words it
        ),
    ],
)
def test_a_row_that_cannot_be_trained_on_is_named_and_its_place_keeps_what_it_has(
    home: Home, said: list[str], republish: Any, change: Any, fault: str | None
) -> None:
    republish(change)
    rows = home.rows()
    rows.take_in()
    bad = [n for n, row in enumerate(home.records()) if fault or row["tier"] != "expert"]
    assert len(said) == len(bad) > 0
    file = home.folder.files(Batch(4, 1))
    for line, index in zip(said, bad, strict=True):
        assert line.startswith(f"mindgap.refresh: {file}:")
        assert line.endswith("; the row keeps what it has")
        if fault is not None:
            cause = fault.format(adapter=home.folder.adapter(4))
            assert line == f"mindgap.refresh: {file}:{index + 1}: {cause}; the row keeps what it has"
        assert "drawn_at" not in rows[index]
    assert rows.last_tried == 4  # it had its turn: training does not wait for it


def test_a_row_too_long_for_training_is_not_taken_in(home: Home, said: list[str]) -> None:
    longest = max(len(home.rows()[index]["input_ids"]) for index in range(8))
    rows = home.rows(sequence_len=longest - 1)
    rows.take_in()
    assert all(line.endswith(f" tokens, and sequence_len is {longest - 1}; the row keeps what it has") for line in said)
    assert said


def lora_model(home: Home, **changes: Any) -> Any:
    torch.manual_seed(3)
    options = {"r": 4, "target_modules": ["q_proj", "down_proj"], "init_lora_weights": False, "task_type": "CAUSAL_LM"}
    model = AutoModelForCausalLM.from_pretrained(home.model, dtype=torch.float32)
    return get_peft_model(model, LoraConfig(**{**options, **changes}))


@pytest.mark.parametrize("changes", [{}, {"use_dora": True}, {"modules_to_save": ["lm_head"]}])
def test_what_is_published_is_what_peft_saves_and_the_same_model(home: Home, tmp_path: Path, changes: Any) -> None:
    from safetensors.torch import load_file

    model = lora_model(home, **changes).eval()
    save_adapter(model, adapter_weights(model), tmp_path / "ours")
    model.save_pretrained(tmp_path / "peft")
    ours, theirs = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("ours", "peft"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert (tmp_path / "ours/adapter_config.json").read_text() == (tmp_path / "peft/adapter_config.json").read_text()
    base = AutoModelForCausalLM.from_pretrained(home.model, dtype=torch.float32)
    again = PeftModel.from_pretrained(base, tmp_path / "ours").eval()
    ids = torch.arange(20)[None]
    torch.testing.assert_close(again(input_ids=ids).logits, model(input_ids=ids).logits)


class Training:
    """The callback among the steps of a run, without a trainer."""

    def __init__(self, home: Home, folder: Path, **options: Any) -> None:
        self.folder = RefreshFolder(folder)
        rows = home.rows()
        rows._folder = self.folder
        model = lora_model(home)
        trainer = SimpleNamespace(model=model, accelerator=SimpleNamespace(unwrap_model=lambda m, **_: m))
        settings = RefreshOptions(folder=str(folder), **{"every": 2, "max_staleness": 4, "wait": 0.0, **options})
        self.callback = RefreshCallback(trainer, self.folder, rows, run_of(home.model), settings)
        self.state = SimpleNamespace(global_step=0, max_steps=100, is_world_process_zero=True)

    def begin(self) -> None:
        self.callback.on_train_begin(None, self.state, SimpleNamespace())

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.state.global_step += 1
            self.callback.on_step_end(None, self.state, SimpleNamespace(should_training_stop=False))


def test_the_adapter_is_published_every_so_many_steps_and_the_end_is_said(home: Home, tmp_path: Path) -> None:
    training = Training(home, tmp_path / "run", max_staleness=100)
    training.begin()
    training.steps(7)
    assert training.folder.versions() == [2, 4, 6]
    assert not training.folder.finished
    training.callback.on_train_end(None, training.state, None)
    assert training.folder.finished


def test_without_a_worker_training_goes_on_and_says_once_what_it_costs(
    home: Home, tmp_path: Path, said: list[str]
) -> None:
    training = Training(home, tmp_path / "run")
    training.begin()
    training.steps(3)
    assert said == []
    training.steps(9)
    assert said == [
        "mindgap.refresh, step 4: rows are staler than max_staleness: 4: some were drawn at step 0 (no rows came for 0 "
        f"s; start `mindgap-data refresh` with --folder {tmp_path / 'run'} again). Training goes on with them: the "
        "further the policy moves from what drew them, the more their importance weights spread, so ESS/N falls, and "
        "the more of them the clip changes, which biases the gradient"
    ]


def test_adapters_that_the_worker_cannot_use_are_named_and_not_waited_for(
    home: Home, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(home, tmp_path / "run", wait=3600.0)

    def sleep(seconds: float) -> None:
        """The worker, while training waits for it."""
        for step in training.folder.versions():
            training.folder.skip(step, "torn")

    monkeypatch.setattr(refresh.time, "sleep", sleep)
    training.begin()
    training.steps(8)
    (line,) = said
    assert f"(no newer adapter could be used, see {tmp_path / 'run' / 'adapters'}/*.skipped)" in line


def test_training_waits_for_the_worker_and_goes_on_with_its_rows(
    home: Home, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(home, tmp_path / "run", wait=3600.0)
    training.begin()
    training.steps(3)
    polls: list[float] = []

    def sleep(seconds: float) -> None:
        """The worker, while training waits: half of the rows each time, none of which comes to anything."""
        polls.append(seconds)
        half = range(4) if len(polls) == 1 else range(4, 8)
        failed = training.folder.files(Batch(4, len(polls))).with_suffix(".failed.jsonl")
        write_rows(failed, [{"id": f"p{n}"} for n in half])

    monkeypatch.setattr(refresh.time, "sleep", sleep)
    training.steps(1)
    assert len(polls) == 2
    assert training.callback.rows.last_tried == 4
    assert said == []
    training.steps(3)
    assert len(polls) == 2  # nothing to wait for until step 8


def test_a_folder_of_another_run_ends_training_before_it_begins(home: Home, tmp_path: Path) -> None:
    first, second = (Training(home, tmp_path / "run") for _ in range(2))
    first.begin()
    first.steps(2)
    with pytest.raises(UserError, match="holds adapters of an earlier run of this recipe"):
        second.begin()
    second.state.global_step = 2  # resumed
    second.begin()
    second.callback.run = second.callback.run.model_copy(update={"data": "sha256:other"})
    with pytest.raises(UserError, match="data was sha256:data, now sha256:other"):
        second.begin()


def test_staleness_is_counted_over_trained_tokens() -> None:
    seen = Staleness()
    labels = torch.tensor([[-100, 5, 6, -100], [-100, -100, 7, 8]])
    drawn = torch.tensor([[4] * 4, [0] * 4])
    seen.add(drawn, labels, step=6)
    seen.add(drawn[:1], labels[:1], step=7)
    seen.add(drawn[:1], labels[:1], step=3)  # drawn by a later step than this: before a resume
    assert seen.take(lambda x: x, "cpu") == {
        "mindgap/staleness/mean": (2 + 2 + 6 + 6 + 3 + 3 + 0 + 0) / 8,
        "mindgap/staleness/max": 6.0,
    }
    assert seen.take(lambda x: x, "cpu") == {}
