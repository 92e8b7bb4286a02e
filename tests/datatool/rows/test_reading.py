"""Files of rows: every kind of broken line, and output that is whole or not there."""

import errno
import gzip
import json
import math
import os
import tracemalloc
from pathlib import Path

import pytest

from mindgap_data.errors import UserError
from mindgap_data.rows import json_array, jsonl
from mindgap_data.rows.jsonl import RawRow, dumps
from mindgap_data.rows.reading import read_raw_rows, read_rows
from mindgap_data.rows.writing import JsonlWriter

BAD_LINES = [
    (b"not json", "not JSON: Expecting value at column 1"),
    (b'{"a": 1', "not JSON: Expecting ',' delimiter at column 8"),
    (b'{"a": NaN}', "not JSON: NaN is not a JSON number"),
    (b'{"a": -Infinity}', "not JSON: -Infinity is not a JSON number"),
    (b'{"a": "\xc3"}', "not UTF-8 at byte 7 of the line"),
    (b"[1, 2]", "a row must be a JSON object, not list"),
    (b'"text"', "a row must be a JSON object, not str"),
    (b"null", "a row must be a JSON object, not NoneType"),
    (b"[" * 100_000, "not JSON: nested too deeply"),
]


@pytest.mark.parametrize(("line", "error"), BAD_LINES, ids=[error for _, error in BAD_LINES])
def test_a_bad_line_is_named_and_the_next_is_read(tmp_path, line, error):
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"n": 1}\n' + line + b'\n\n{"n": 4}')
    assert list(read_raw_rows(path)) == [RawRow(1, {"n": 1}), RawRow(2, None, error), RawRow(4, {"n": 4})]
    with pytest.raises(UserError) as raised:
        list(read_rows(path))
    assert raised.value.message == f"{path}:2: {error}"


def test_a_number_of_five_thousand_digits_is_an_error_of_its_row(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"n": ' + "1" * 5000 + '}\n{"n": 2}\n')
    bad, good = read_raw_rows(path)
    assert bad.error is not None
    assert bad.error.startswith("not JSON: Exceeds the limit")
    assert good == RawRow(2, {"n": 2})


def test_a_byte_order_mark_and_windows_line_ends_are_no_matter(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"n": 1}\r\n{"n": 2}\r\n')
    assert list(read_rows(path)) == [(1, {"n": 1}), (2, {"n": 2})]


def test_a_ten_megabyte_row_is_read(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps({"text": "x" * (10 << 20)}) + '\n{"n": 2}\n')
    (_, big), (_, small) = read_rows(path)
    assert len(big["text"]) == 10 << 20
    assert small == {"n": 2}


def test_a_row_past_the_limit_is_an_error_and_the_next_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonl, "MAX_ROW_BYTES", 1 << 20)
    path = tmp_path / "in.jsonl"
    path.write_text('{"n": 1}\n' + json.dumps({"text": "x" * (3 << 20)}) + '\n{"n": 3}\n')
    assert list(read_raw_rows(path)) == [
        RawRow(1, {"n": 1}),
        RawRow(2, None, "the row is longer than 1 MiB"),
        RawRow(3, {"n": 3}),
    ]


def test_gzip(tmp_path):
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"n": 1}\n{"n": 2}\n'))
    assert list(read_rows(path)) == [(1, {"n": 1}), (2, {"n": 2})]


UNREADABLE = [
    ("none.jsonl", None, "cannot be read: No such file or directory"),
    ("plain.gz", b'{"n": 1}\n', "cannot be read: Not a gzipped file (b'{\"')"),
    (
        "torn.gz",
        gzip.compress(b'{"n": 1}\n' * 99)[:-12],
        "cannot be read: Compressed file ended before the end-of-stream marker was reached",
    ),
    ("empty.jsonl", b"", "the file has no rows"),
    ("blank.jsonl", b"\n \n", "the file has no rows"),
]


@pytest.mark.parametrize(("name", "content", "error"), UNREADABLE, ids=[name for name, *_ in UNREADABLE])
def test_unreadable_files(tmp_path, name, content, error):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        list(read_rows(path))
    assert raised.value.message == f"{path}: {error}"


@pytest.mark.parametrize("indent", [None, 0, 1])
@pytest.mark.parametrize("chunk", [1, 7, 1 << 16])
def test_a_json_array_is_read_whatever_its_layout_and_the_buffers_size(tmp_path, monkeypatch, indent, chunk):
    monkeypatch.setattr(json_array, "_CHUNK", chunk)
    rows = [{"n": n, "text": 'é]},{[\\"\n' * n, "deep": {"a": [1.5, None, {}]}} for n in range(20)]
    path = tmp_path / "in.json"
    path.write_text(json.dumps(rows, indent=indent, ensure_ascii=False), encoding="utf-8")
    assert [row for _, row in read_rows(path)] == rows


def test_rows_of_an_array_have_the_line_they_begin_on(tmp_path):
    path = tmp_path / "in.json"
    path.write_text('[\n{"n": 1},\n{\n"n": 2}, 3,\n\n{"n": 4}]')
    assert list(read_raw_rows(path)) == [
        RawRow(2, {"n": 1}),
        RawRow(3, {"n": 2}),
        RawRow(4, None, "a row must be a JSON object, not int"),
        RawRow(6, {"n": 4}),
    ]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b'[{"n": 1},\n{"n":', "2: not JSON: Expecting value"),
        (b'[{"n": 1}\n', "2: the array breaks off before its closing bracket"),
        (b'[{"n": 1}\n{"n": 2}]', "2: not JSON: expected , or ], found '{'"),
        (b'[{"n": 1},\n\n{"n": NaN}]', "3: not JSON: NaN is not a JSON number"),
        (b'[{"n": 1},\n{"n": "\xff"}]', "1: not UTF-8 from here on"),
    ],
)
def test_an_array_that_breaks_off_stops_the_reading(tmp_path, content, error):
    path = tmp_path / "in.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        list(read_rows(path))
    assert raised.value.message == f"{path}:{error}"


def test_a_json_file_of_lines_is_lines_and_an_empty_array_no_rows(tmp_path):
    path = tmp_path / "in.json"
    path.write_text('{"n": 1}\n[]\n')
    assert [raw.error for raw in read_raw_rows(path)] == [None, "a row must be a JSON object, not list"]
    path.write_text(" [ ] ")
    assert list(read_raw_rows(path)) == []


@pytest.mark.parametrize("name", ["in.jsonl", "in.json"])
def test_memory_does_not_grow_with_the_file(tmp_path, name):
    def peak(count):
        rows = (json.dumps({"n": n, "text": "x" * 500}) for n in range(count))
        path = tmp_path / name
        path.write_text("[" + ",\n".join(rows) + "]" if name == "in.json" else "\n".join(rows))
        tracemalloc.start()
        assert sum(1 for _ in read_rows(path)) == count
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    assert peak(20_000) < 1.2 * peak(2_000) + 100_000


def test_dumps_keeps_text_and_refuses_nan():
    assert dumps({"a": "é\n", "b": [1.5, None]}) == '{"a":"é\\n","b":[1.5,null]}'
    half = dumps({"a": "é\ud800"})
    assert half == '{"a":"\\u00e9\\ud800"}'
    assert json.loads(half) == {"a": "é\ud800"}
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        dumps({"a": math.nan})


def test_output_appears_whole_and_only_on_finish(tmp_path):
    path = tmp_path / "out.jsonl"
    with JsonlWriter(path) as writer:
        writer.write({"n": 1})
        assert not path.exists()
        writer.write({"n": 2})
        writer.finish()
    assert path.read_text() == '{"n":1}\n{"n":2}\n'
    assert os.listdir(tmp_path) == ["out.jsonl"]


def write_rows(path, rows):
    with JsonlWriter(path) as writer:
        for row in rows:
            writer.write(row)
        writer.finish()


def test_an_exception_leaves_the_old_output_and_no_part(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_rows(path, [{"n": 1}, {"n": math.inf}])
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.jsonl"]


def test_a_folder_that_is_not_there(tmp_path):
    path = tmp_path / "no" / "out.jsonl"
    with pytest.raises(UserError) as raised, JsonlWriter(path):
        pass
    assert raised.value.message == f"{path}.part: cannot be written: No such file or directory"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full to stand in for a full disk")
def test_a_full_disk(tmp_path):
    path = tmp_path / "out.jsonl"
    part = tmp_path / "out.jsonl.part"
    remedy = f"cannot be written: {os.strerror(errno.ENOSPC)}; free some room and rerun"
    # A small row is only refused at the flush, a large one at once.
    for size, where in ((1, path), (1 << 20, part)):
        part.symlink_to("/dev/full")
        with pytest.raises(UserError) as raised:
            write_rows(path, [{"text": "x" * size}])
        assert raised.value.message == f"{where}: {remedy}"
        assert os.listdir(tmp_path) == []
