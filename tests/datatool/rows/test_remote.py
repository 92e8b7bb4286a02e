"""Remote paths against a real client and a local service: they come and go whole, and each fault is one line."""

import errno
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fake_s3
from mindgap_data.errors import UserError
from mindgap_data.rows import remote
from mindgap_data.rows.elsewhere import RemoteOutput
from mindgap_data.rows.sources import open_source
from mindgap_data.rows.writing import JsonlWriter

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
pytest.importorskip("s3fs", reason="s3fs is not installed")

ROWS = [{"n": n} for n in range(3)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[fake_s3.Bucket]:
    with fake_s3.serve() as bucket:
        fake_s3.log_in(bucket, monkeypatch)
        yield bucket


@pytest.fixture(autouse=True)
def working_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def refused(call: Any, *args: Any) -> str:
    with pytest.raises(UserError) as raised:
        call(*args)
    return raised.value.message


def write(path: RemoteOutput) -> None:
    with JsonlWriter(path) as writer:
        for row in ROWS:
            writer.write(row)
        writer.finish()


def test_an_input_comes_whole_and_is_called_by_its_address(bucket: fake_s3.Bucket) -> None:
    bucket.files["in.jsonl"] = LINES
    source = open_source("s3://bucket/in.jsonl")
    for _ in range(2):
        assert [raw.row for raw in source.rows()] == ROWS
    assert source.label(2) == "s3://bucket/in.jsonl:2"
    assert source.count() == 3


def test_an_output_goes_whole_and_leaves_no_file(bucket: fake_s3.Bucket) -> None:
    path = RemoteOutput.to("s3://bucket/runs/out.jsonl")
    assert not path.exists()
    write(path)
    assert [json.loads(line) for line in bucket.files["runs/out.jsonl"].splitlines()] == ROWS
    assert path.exists()
    assert [path for path in Path().rglob("*") if path.is_file()] == []
    path.unlink()
    path.unlink(missing_ok=True)
    assert bucket.files == {}


def test_what_is_beside_a_remote_output_is_remote_and_two_addresses_never_share_a_file() -> None:
    path = RemoteOutput.to("memory://a/out.jsonl")
    assert str(path.with_name("out.failed.jsonl")) == "memory://a/out.failed.jsonl"
    assert str(RemoteOutput.to("memory://a/grid") / "self.jsonl") == "memory://a/grid/self.jsonl"
    assert path.local == Path(".mindgap/memory/a/out.jsonl")
    assert RemoteOutput.to("s3://a/out.jsonl").local != path.local


def test_an_output_that_is_not_taken_stays_here(bucket: fake_s3.Bucket) -> None:
    bucket.denied.add("out.jsonl")
    bucket.files["out.jsonl"] = b"old"
    path = RemoteOutput.to("s3://bucket/out.jsonl")
    assert refused(path.exists) == (
        "s3://bucket/out.jsonl: cannot be read: Forbidden; "
        "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )
    Path(path.local).write_bytes(LINES)
    assert refused(path.deliver) == (
        "s3://bucket/out.jsonl: cannot be written: AccessDenied; "
        "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; "
        "the finished file is .mindgap/s3/bucket/out.jsonl, and the same command sends it again"
    )
    assert path.local.read_bytes() == LINES
    assert bucket.files["out.jsonl"] == b"old"
    bucket.denied.clear()
    path.deliver()
    assert bucket.files["out.jsonl"] == LINES
    assert not path.local.exists()


def test_what_is_not_there_or_not_given_is_one_line(bucket: fake_s3.Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.files |= {"torn.jsonl": LINES * 9000, "secret.jsonl": LINES}
    bucket.torn.add("torn.jsonl")
    bucket.denied.add("secret.jsonl")
    assert refused(open_source, "s3://bucket/none.jsonl") == (
        "s3://bucket/none.jsonl: cannot be read: there is no such file, bucket or folder"
    )
    assert refused(open_source, "s3://bucket/torn.jsonl") == (
        "s3://bucket/torn.jsonl: ended after 121,500 of 243,000 bytes; run the command again"
    )
    log_in = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    assert refused(open_source, "s3://bucket/secret.jsonl") == (
        f"s3://bucket/secret.jsonl: cannot be read: Forbidden; {log_in}"
    )
    fake_s3.log_out(monkeypatch)
    assert refused(open_source, "s3://bucket/secret.jsonl") == (
        f"s3://bucket/secret.jsonl: cannot be read: Unable to locate credentials; {log_in}"
    )


def test_a_path_of_no_known_kind_and_a_folder_are_refused() -> None:
    assert refused(open_source, "xyz://a/in.jsonl") == (
        "xyz://a/in.jsonl: no such kind of path; s3://, gs://, hf:// and others that fsspec knows can be read"
    )
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/folder/in.jsonl", LINES)
    memory.pipe_file("/rows.csv", b"a,b\n")
    memory.pipe_file("/empty.jsonl", b"")
    assert refused(open_source, "memory://folder") == "memory://folder: is a folder; name a file in it"
    assert refused(open_source, "memory://empty.jsonl") == "memory://empty.jsonl: the file is empty"
    assert refused(open_source, "memory://rows.csv") == (
        "memory://rows.csv: .csv files are not read; convert it to .jsonl, .jsonl.gz or .parquet"
    )


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    assert refused(open_source, "gs://bucket/in.jsonl") == (
        "gs://bucket/in.jsonl: needs a package that is not there (Please install gcsfs to access Google Storage); "
        "run: pip install 'mindgap[remote]'"
    )
    monkeypatch.setattr(remote, "find_spec", lambda name: None)
    assert refused(open_source, "s3://bucket/in.jsonl") == (
        "s3://bucket/in.jsonl: remote paths need fsspec; run: pip install 'mindgap[remote]'"
    )


def test_a_full_disk_under_the_copy_is_not_the_services_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/in.jsonl", LINES)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(memory, "get_file", full)
    before, _, after = refused(open_source, "memory://in.jsonl").partition(" cannot be written: ")
    assert before.startswith("memory://in.jsonl: the copy in /")
    assert after == "No space left on device; free some room there, or set TMPDIR to a folder that has it"
