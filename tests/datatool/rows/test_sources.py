"""Where rows come from: each kind of source gives the same rows, numbered, and says what is wrong with it."""

import base64
import datetime
import decimal
import gzip
import hashlib
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

import fake_hub
from mindgap_data.errors import UserError
from mindgap_data.rows import parquet, sources
from mindgap_data.rows.jsonl import RawRow
from mindgap_data.rows.sources import open_source

ROWS = [{"question": f"{n} + 1?", "answer": f"#### {n + 1}", "tags": ["a", None]} for n in range(200)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def save_parquet(path, rows, **options):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), path, **options)


def save_folder(path):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    datasets.Dataset.from_list(ROWS).save_to_disk(path)


def save_folder_of_splits(path):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    splits = {"train": datasets.Dataset.from_list(ROWS), "test": datasets.Dataset.from_list(ROWS[:2])}
    datasets.DatasetDict(splits).save_to_disk(path)


SOURCES = [
    ("in.jsonl", lambda path: path.write_text(LINES), 200),
    ("in.ndjson", lambda path: path.write_text(LINES.rstrip()), 200),
    ("in.jsonl.gz", lambda path: path.write_bytes(gzip.compress(LINES.encode())), None),
    ("in.json", lambda path: path.write_text(json.dumps(ROWS)), None),
    ("in.parquet", lambda path: save_parquet(path, ROWS, row_group_size=30), 200),
    ("folder", save_folder, 200),
    ("splits:train", lambda path: save_folder_of_splits(path.with_name("splits")), 200),
]


@pytest.mark.parametrize(("name", "save", "count"), SOURCES, ids=[name for name, *_ in SOURCES])
def test_every_source_gives_the_rows_twice_over(tmp_path, monkeypatch, name, save, count):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / name)
    source = open_source(name)
    assert [raw.row for raw in source.rows()] == ROWS
    assert [raw.row for raw in source.rows()] == ROWS
    assert source.count() == count
    assert source.label(7) == f"{name}:7"
    assert source.name == name
    if name != "in.json":
        assert [raw.line for raw in source.rows()] == list(range(1, 201))


@pytest.mark.parametrize("name", ["in.jsonl", "in.json", "in.parquet"])
def test_the_fingerprint_of_a_file_is_the_sha256_of_its_bytes(tmp_path, name):
    path = tmp_path / name
    if name == "in.parquet":
        save_parquet(path, ROWS)
    else:
        path.write_text(LINES)
    assert open_source(str(path)).fingerprint == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_the_fingerprint_of_a_folder_is_kept_and_moves_with_the_rows(tmp_path):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    save_folder(tmp_path / "a")
    datasets.load_from_disk(tmp_path / "a").select(range(199)).save_to_disk(tmp_path / "b")
    a, b = (open_source(str(tmp_path / name)).fingerprint for name in "ab")
    assert a == open_source(str(tmp_path / "a")).fingerprint
    assert a != b


def test_a_bad_row_is_carried_and_the_rest_is_read(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": "\xff"}\n{"n": 3}\n')
    assert list(open_source(str(path)).rows()) == [
        RawRow(1, {"n": 1}),
        RawRow(2, None, "not UTF-8 at byte 7 of the line"),
        RawRow(3, {"n": 3}),
    ]


def test_parquet_values_json_does_not_know(tmp_path):
    row = {
        "nan": float("nan"),
        "day": datetime.date(2026, 1, 2),
        "moment": datetime.datetime(2026, 1, 2, 3, 4),
        "price": decimal.Decimal("1.50"),
        "image": b"\x00\xff",
        "deep": {"list": [float("inf"), 1]},
    }
    save_parquet(tmp_path / "in.parquet", [row])
    (raw,) = open_source(str(tmp_path / "in.parquet")).rows()
    assert raw.row == {
        "nan": None,
        "day": "2026-01-02",
        "moment": "2026-01-02T03:04:00",
        "price": "1.50",
        "image": base64.b64encode(b"\x00\xff").decode(),
        "deep": {"list": [None, 1]},
    }


def test_a_value_of_no_known_type_is_an_error_of_its_row():
    (raw,) = parquet.numbered(iter([{"x": object()}]))
    assert raw == RawRow(1, None, "a column holds object, which JSON cannot hold; drop the column")


def refused(name):
    with pytest.raises(UserError) as raised:
        list(open_source(name).rows())
    return raised.value.message


def test_what_is_said_of_files_that_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty.jsonl").touch()
    Path("blank.jsonl").write_text("\n\n")
    Path("train.jsonl").write_text(LINES)
    Path("rows.csv").write_text("a,b\n")
    Path("bad.parquet").write_text("x")
    Path("folder").mkdir()
    assert refused("empty.jsonl") == "empty.jsonl: the file is empty"
    assert refused("blank.jsonl") == "blank.jsonl: the file has no rows"
    assert refused("trian.jsonl") == "trian.jsonl: no such file; did you mean train.jsonl?"
    assert refused("a b") == "a b: no such file"
    assert refused("no/train.jsonl") == "no/train.jsonl: no such file; there is no folder no"
    assert refused("rows.csv") == "rows.csv: .csv files are not read; convert it to .jsonl, .jsonl.gz or .parquet"
    assert refused("folder") == "folder: the folder was not saved by datasets (no dataset_info.json); name a file in it"
    if sources.find_spec("pyarrow"):
        assert refused("bad.parquet").startswith("bad.parquet: cannot be read as parquet: Parquet file size is 1 bytes")


def test_what_is_said_of_folders_and_splits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_folder(tmp_path / "plain")
    save_folder_of_splits(tmp_path / "splits")
    assert refused("splits") == "splits: name one of its splits: splits:train, splits:test"
    assert refused("splits:dev") == "splits:dev: name one of its splits: splits:train, splits:test"
    assert refused("plain:train") == "plain:train: plain has no splits; leave out :train"
    Path("plain/state.json").write_text("{")
    assert refused("plain").startswith("plain: cannot be read: ")


def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_parquet(tmp_path / "in.parquet", ROWS)
    save_folder(tmp_path / "folder")
    for module in (sources, parquet):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert refused("in.parquet") == "in.parquet: parquet needs pyarrow: pip install 'mindgap[datasets]'"
    assert refused("folder") == "folder: reading this folder needs datasets: pip install datasets"
    assert refused("org/name:test") == (
        "org/name:test: no such file; to take it for a name on the Hugging Face hub: pip install datasets"
    )


def read_in_a_process(name, endpoint, home):
    """Rows and fingerprint of a source, or the error, as JSON; the hub's address is read at import."""
    code = (
        "import json, sys\n"
        "from mindgap_data.errors import UserError\n"
        "from mindgap_data.rows.sources import open_source\n"
        "try:\n"
        "    source = open_source(sys.argv[1])\n"
        "    print(json.dumps([source.fingerprint, source.count(), [raw.row for raw in source.rows()]]))\n"
        "except UserError as error:\n"
        "    print(json.dumps(error.message))\n"
    )
    environment = {"HF_ENDPOINT": endpoint, "HOME": str(home), "NO_PROXY": "*", "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-c", code, name]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def test_a_hub_name_is_streamed_at_a_pinned_commit(tmp_path):
    pytest.importorskip("datasets", reason="datasets is not installed")
    with fake_hub.serve("org/name", "test.jsonl", LINES.encode()) as endpoint:
        assert read_in_a_process("org/name:test", endpoint, tmp_path) == [f"{fake_hub.COMMIT}:default:test", None, ROWS]
        assert read_in_a_process("org/name:dev", endpoint, tmp_path) == (
            "org/name:dev: no such file, and the Hugging Face hub does not give it: "
            "Bad split: dev. Available splits: ['test']"
        )
        missing = read_in_a_process("org/other", endpoint, tmp_path)
        assert missing.startswith(
            "org/other: no such file, and the Hugging Face hub does not give it: 404 Client Error"
        )


def test_a_hub_that_does_not_answer(tmp_path):
    pytest.importorskip("datasets", reason="datasets is not installed")
    # Nothing listens at port 9 of this machine.
    message = read_in_a_process("org/name:main:test", "http://127.0.0.1:9", tmp_path)
    assert message.startswith("org/name:main:test: no such file, and the Hugging Face hub does not give it: ")
    assert "\n" not in message


@pytest.mark.parametrize("name", ["in.jsonl", "in.parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path, name):
    def peak(count):
        rows = [{"n": n, "text": "x" * 500} for n in range(count)]
        path = tmp_path / name
        if name == "in.parquet":
            save_parquet(path, rows)
        else:
            path.write_text("\n".join(map(json.dumps, rows)))
        del rows
        tracemalloc.start()
        assert sum(1 for _ in open_source(str(path)).rows()) == count
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    assert peak(20_000) < 1.2 * peak(2_000) + 100_000
