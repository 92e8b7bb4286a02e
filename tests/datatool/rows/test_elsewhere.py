"""Standard input and output: every kind of input is recognised, nothing but rows goes out, and nothing is lost."""

import gzip
import io
import json
import os
import resource
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from mindgap_data.errors import UserError
from mindgap_data.rows.elsewhere import StandardOutput
from mindgap_data.rows.sources import open_source
from mindgap_data.rows.writing import JsonlWriter

ROWS = [{"n": n} for n in range(3)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def parquet_bytes() -> bytes:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), file)
    return file.getvalue()


def give(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


KINDS: dict[str, Callable[[], bytes]] = {
    "lines": lambda: LINES,
    "array": lambda: b"\xef\xbb\xbf\n" + json.dumps(ROWS, indent=1).encode(),
    "gzip": lambda: gzip.compress(LINES),
    "gzipped array": lambda: gzip.compress(json.dumps(ROWS).encode()),
    "parquet": parquet_bytes,
}


@pytest.mark.parametrize("kind", KINDS)
def test_standard_input_is_recognised_by_its_content_and_read_twice(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    give(monkeypatch, KINDS[kind]())
    source = open_source("-")
    for _ in range(2):
        assert [raw.row for raw in source.rows()] == ROWS
    assert source.name == "stdin"
    assert source.label(2) == "stdin:2"


def test_a_bad_line_of_standard_input_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, b'{"n": 0}\n{"n": \n')
    assert [raw.error for raw in open_source("-").rows()] == [None, "not JSON: Expecting value at column 7"]
    give(monkeypatch, gzip.compress(LINES)[:-9])
    with pytest.raises(UserError) as torn:
        list(open_source("-").rows())
    assert torn.value.message == (
        "stdin: cannot be read: Compressed file ended before the end-of-stream marker was reached"
    )


def test_standard_input_without_content_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, b"")
    with pytest.raises(UserError) as empty:
        open_source("-")
    assert empty.value.message == "stdin: nothing came; `-` reads rows from a pipe, and can be given only once"


def test_a_full_disk_under_the_copy_is_said_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, LINES * 1000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(UserError) as full:
            open_source("-")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    before, _, after = full.value.message.partition(" cannot be written: ")
    assert before.startswith("stdin: the copy in /")
    assert after == "File too large; free some room there, or set TMPDIR to a folder that has it"


def test_nothing_but_rows_reaches_standard_output(tmp_path: Path) -> None:
    program = """
        import os, subprocess
        from pathlib import Path
        from mindgap_data.rows.elsewhere import StandardOutput, rows_only
        from mindgap_data.rows.writing import JsonlWriter
        with rows_only() as stream:
            print("a table")
            os.write(1, b"from C\\n")
            subprocess.run(["echo", "from a child"], check=True)
            with JsonlWriter(StandardOutput.to(stream, Path("in.stdout.jsonl"))) as writer:
                writer.write({"n": 1})
                writer.finish()
            print("done")
        print("afterwards")
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ran.stdout == '{"n":1}\nafterwards\n'
    assert sorted(ran.stderr.splitlines()) == ["a table", "done", "from C", "from a child"]
    assert list(tmp_path.iterdir()) == []


def test_rows_nobody_takes_stay_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as stream:
        path = StandardOutput.to(stream, Path("in.stdout.jsonl"))
        with JsonlWriter(path) as writer:
            writer.write({"n": 1})
            with pytest.raises(UserError) as refused:
                writer.finish()
    assert refused.value.message == ("standard output: cannot be written: Broken pipe; the rows are in in.stdout.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["in.stdout.jsonl"]
    assert Path("in.stdout.jsonl").read_text() == '{"n":1}\n'
