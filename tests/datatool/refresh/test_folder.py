"""The folder: what has its final name is whole, one folder is one run's, and what was tried follows from the files."""

import json
from pathlib import Path
from typing import Any

import pytest

from mindgap_data.errors import UserError
from mindgap_data.refresh.folder import Batch, RefreshFolder, TrainingRun

RUN = TrainingRun(
    base_model="tiny",
    tokenizer="sha256:t",
    chat_template="sha256:c",
    sequence_len=512,
    data="sha256:d",
    rows=("a", "b", "c"),
)


@pytest.fixture
def folder(tmp_path: Path) -> RefreshFolder:
    made = RefreshFolder(tmp_path / "shared")
    made.claim(RUN, resumes=False)
    return made


def save(part: Path) -> None:
    part.mkdir()
    (part / "adapter_config.json").write_text("{}")


def put(
    folder: RefreshFolder, batch: Batch, rows: list[str], failed: list[str] | None = None, ending: str = ""
) -> None:
    """A batch's files; ``ending`` makes them those of a run that is not finished."""
    path = folder.files(batch)
    if rows:
        path.write_text("".join(json.dumps({"id": row}) + "\n" for row in rows))
    if failed is not None:
        path.with_suffix(".failed.jsonl").write_text("".join(json.dumps({"id": row}) + "\n" for row in failed))
    if ending:
        path.with_name(path.name + ending).touch()


def message(run: TrainingRun, folder: RefreshFolder, resumes: bool = False) -> str:
    with pytest.raises(UserError) as error:
        folder.claim(run, resumes)
    return error.value.message


def test_the_worker_reads_the_run_that_claimed_the_folder(folder: RefreshFolder) -> None:
    assert folder.run() == RUN
    assert RefreshFolder(folder.path / "nowhere").run() is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base_model": "other"}, "base_model was tiny, now other"),
        ({"adapter": "runs/a"}, "adapter was None, now runs/a"),
        ({"data": "sha256:e", "sequence_len": 64}, "sequence_len was 512, now 64; data was sha256:d, now sha256:e"),
    ],
)
def test_a_folder_of_another_run_is_refused_by_what_differs(
    folder: RefreshFolder, change: dict[str, Any], words: str
) -> None:
    refused = message(RUN.model_copy(update=change), folder, resumes=True)
    assert refused == f"{folder.path}: belongs to another training run ({words}); choose another folder"


def test_a_new_run_does_not_go_on_with_adapters_of_an_old_one_and_a_resumed_one_does(folder: RefreshFolder) -> None:
    assert folder.publish(10, save)
    assert message(RUN, folder) == (
        f"{folder.path}: holds adapters of an earlier run of this recipe; delete the folder or choose another, or "
        "continue that run with resume_from_checkpoint"
    )
    folder.finish()
    folder.claim(RUN, resumes=True)
    assert not folder.finished
    assert folder.versions() == [10]
    assert not folder.publish(10, save)  # a version is never written twice


def test_an_adapter_appears_whole_or_not_at_all(folder: RefreshFolder) -> None:
    def torn(part: Path) -> None:
        save(part)
        assert folder.versions() == []
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.publish(10, torn)
    assert folder.versions() == []
    folder.claim(RUN, resumes=True)  # clears what was left half-way
    assert folder.publish(10, save)
    assert folder.versions() == [10]


def test_adapters_are_in_order_of_steps_and_skipped_ones_are_left_out(folder: RefreshFolder) -> None:
    for step in (9, 10, 1_000_000):
        folder.publish(step, save)
    folder.skip(10, "torn")
    assert folder.versions() == [9, 1_000_000]
    assert (folder.path / "adapters" / "adapter-000010.skipped").read_text() == "torn\n"


def test_tried_is_the_last_step_that_asked_for_a_row_whether_or_not_it_succeeded(folder: RefreshFolder) -> None:
    put(folder, Batch(20, 1), ["b"], failed=["a"])
    put(folder, Batch(10, 1), ["a", "b"])
    put(folder, Batch(10, 2), ["c"], ending=".summary.json")
    assert folder.batches() == [Batch(10, 1), Batch(10, 2), Batch(20, 1)]
    assert folder.tried() == {"a": 20, "b": 20, "c": 10}


def test_a_batch_that_is_being_written_is_not_there_yet(folder: RefreshFolder) -> None:
    batch = Batch(10, 1)
    put(folder, batch, [], ending=".journal")
    assert (folder.batches(), folder.unfinished()) == ([], batch)
    put(folder, batch, [], failed=["a"])  # put in place before the records
    assert folder.batches() == []
    put(folder, batch, ["b"])
    assert folder.batches() == [batch]


def test_a_batch_of_which_no_row_succeeded_counts(folder: RefreshFolder) -> None:
    put(folder, Batch(10, 1), [], failed=["a", "b"])
    assert folder.tried() == {"a": 10, "b": 10}


def test_what_is_no_run_or_no_json_is_one_line(folder: RefreshFolder) -> None:
    (folder.path / "run.json").write_text('{"version": 2}')
    with pytest.raises(UserError, match="not what a training run of this version of mindgap writes") as error:
        folder.run()
    assert "\n" not in error.value.message
    folder.files(Batch(10, 1)).write_text("torn")
    with pytest.raises(UserError) as error:
        folder.tried()
    assert error.value.message == f"{folder.files(Batch(10, 1))}:1: not JSON; delete the file"
