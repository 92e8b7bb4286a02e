"""The work folder: rows in and results out in their order, each once; settings that all must share."""

from pathlib import Path

import pyarrow.parquet
import pytest

from characters import InstantEngine
from mindgap_data.errors import UserError
from mindgap_data.run.cluster.folder import LockedFolder, WorkFolder, result_table
from mindgap_data.run.cluster.work import Result


@pytest.fixture
def folder(tmp_path: Path) -> WorkFolder:
    with LockedFolder(tmp_path / "out.ray", restart=False) as folder:
        return folder


def shard(folder: WorkFolder, task: str, ids: list[int], *, whole: bool = True) -> None:
    """A shard as Ray Data leaves it, with its checkpoint."""
    results = [Result[int](id, "done", f'"{task}"', 1, 2, 3) for id in ids]
    pyarrow.parquet.write_table(result_table(results), folder.shards / f"{task}-0.parquet")
    done = folder.done / (f"{task}.parquet" if whole else f"{task}.pending.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"id": ids}), done)


def test_results_come_in_the_order_of_the_rows_and_each_once(folder: WorkFolder) -> None:
    shard(folder, "b", [3, 4])
    shard(folder, "a", [5, 1, 2])
    shard(folder, "half", [4, 6], whole=False)  # its driver was killed while it was written
    shard(folder, "twice", [4, 6])  # a task that outlived its driver
    found = [(result.id, result.value) for result in folder.results(6)]
    assert found == [(1, '"a"'), (2, '"a"'), (3, '"b"'), (4, '"b"'), (5, '"a"'), (6, '"twice"')]
    assert folder.finished() == 6


def test_a_row_without_a_result_is_named(folder: WorkFolder) -> None:
    shard(folder, "a", [1, 3])
    assert folder.finished() == 2
    with pytest.raises(UserError) as caught:
        list(folder.results(3))
    assert caught.value.message == f"{folder.path}: row 2 of the table has no result; run the same command again"


def test_the_table_is_written_once_in_parts_that_a_reader_can_hold(
    folder: WorkFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mindgap_data.run.cluster.folder.PART_ROWS", 3)
    lines = [f'{{"row":{n},"ends":"\\ud800"}}' for n in range(7)]
    assert folder.write_table(lines) == 7
    assert folder.write_table(["another driver reads it"]) == 7
    parts = [pyarrow.parquet.read_table(path).to_pylist() for path in sorted(folder.table.iterdir())]
    assert [len(part) for part in parts] == [3, 3, 1]
    assert [(row["id"], row["line"]) for part in parts for row in part] == list(enumerate(lines, start=1))


def test_nodes_that_differ_and_settings_that_changed_are_refused_by_name(folder: WorkFolder) -> None:
    engine = InstantEngine()
    folder.agree({"samples": 2}, engine)
    folder.agree({"samples": 2}, engine)
    other = InstantEngine()
    other.revision = "another"
    with pytest.raises(UserError, match=r"differs from the node that began \(engine was .*\"revision\":null") as caught:
        folder.agree({"samples": 2}, other)
    assert caught.value.message.endswith("; give all nodes the same model and versions, or choose other nodes")
    rerun = WorkFolder(folder.path, "another driver")
    rerun.agree({"samples": 2}, engine)
    with pytest.raises(UserError) as caught:
        rerun.agree({"samples": 3}, engine)
    assert caught.value.message == (
        f"{folder.path}: an unfinished run with other settings (samples was 2, now 3); "
        "repeat its settings to continue it, choose another -o, or delete it with --restart"
    )


def test_one_driver_at_a_time_and_a_restart_forgets_all(tmp_path: Path) -> None:
    path = tmp_path / "out.ray"
    with LockedFolder(path, restart=False) as folder:
        folder.write_table(["1", "2"])
        with pytest.raises(UserError) as caught, LockedFolder(path, restart=False):
            pass
        assert caught.value.message == (f"{path}: another run is writing this output; wait for it or choose another -o")
    with LockedFolder(path, restart=True) as folder:
        assert folder.write_table(["1"]) == 1


def test_a_machine_that_does_not_see_the_folder_knows_it(folder: WorkFolder, tmp_path: Path) -> None:
    assert folder.is_shared()
    assert not WorkFolder(tmp_path / "elsewhere", folder.run).is_shared()
    assert not WorkFolder(folder.path, "of another run").is_shared()
