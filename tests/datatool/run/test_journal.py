"""The journal: what a killed run leaves behind is used whole, and nothing else is."""

import resource
from pathlib import Path

import pytest

from mindgap_data.errors import UserError
from mindgap_data.run.journal import Journal

SETTINGS = {"model": "m", "seed": 1, "sampling": {"temperature": 1.0}}


def journal(path: Path, settings: dict[str, object] | None = None) -> Journal[int]:
    return Journal(path, SETTINGS if settings is None else settings, encode=lambda n: [n], decode=lambda v: int(v[0]))


def test_recalls_what_an_earlier_run_recorded_and_nothing_of_this_one(tmp_path: Path) -> None:
    first = journal(tmp_path / "j")
    first.record({"a": 1, "b": 2})
    assert first.recall("a") is None
    first.close()
    second = journal(tmp_path / "j")
    assert [second.recall(key) for key in "abc"] == [1, 2, None]
    second.record({"c": 3})
    second.close()
    third = journal(tmp_path / "j")
    assert [third.recall(key) for key in "abc"] == [1, 2, 3]
    third.close()


@pytest.mark.parametrize("cut", [1, 5, 12])
def test_a_torn_last_line_is_cut_off_and_the_rest_is_kept(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "j"
    first = journal(path)
    first.record({"a": 1})
    first.record({"b": 2})
    first.close()
    path.write_bytes(path.read_bytes()[:-cut])
    second = journal(path)
    assert [second.recall("a"), second.recall("b")] == [1, None]
    second.record({"b": 20})
    second.close()
    third = journal(path)
    assert [third.recall("a"), third.recall("b")] == [1, 20]
    third.close()


def test_a_torn_header_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(b'{"journal":1,"sett')
    anew = journal(path)
    anew.record({"a": 1})
    anew.close()
    again = journal(path)
    assert again.recall("a") == 1
    again.close()


def test_changed_settings_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal(path).close()
    with pytest.raises(UserError) as caught:
        journal(path, {**SETTINGS, "seed": 2, "sampling": {"temperature": 0.5}})
    assert caught.value.message == (
        f'{path}: an unfinished run with other settings (seed was 1, now 2; sampling was {{"temperature":1.0}}, '
        'now {"temperature":0.5}); repeat its settings to continue it, choose another -o, or delete it with --restart'
    )


def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_text('{"question": "mine"}\n')
    with pytest.raises(UserError, match="this is not a mindgap journal"):
        journal(path)
    assert path.read_text() == '{"question": "mine"}\n'


def test_two_runs_of_one_output_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "j"
    first = journal(path)
    with pytest.raises(UserError, match="another run is writing this output"):
        journal(path)
    first.close()


def test_a_write_that_fails_is_one_line_and_keeps_what_was_there(tmp_path: Path) -> None:
    """A limit on the size of files fails a write in the middle, as a full disk does."""
    path = tmp_path / "j"
    first = journal(path)
    first.record({"a": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, before[1]))
    try:
        with pytest.raises(UserError) as caught:
            first.record({"b": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.message == (
        f"{path}: the journal cannot be written: File too large; free some room and run the same command again"
    )
    first.close()
    second = journal(path)
    assert [second.recall("a"), second.recall("b")] == [1, None]
    second.close()
