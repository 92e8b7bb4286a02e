"""Rows written as parquet or gzip come back as they were, whatever their columns; other readers see proper types."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from good_record import record
from mindgap_data.errors import UserError
from mindgap_data.record import Record
from mindgap_data.rows import layout, parquet
from mindgap_data.rows.reading import read_raw_rows, read_rows
from mindgap_data.rows.records import read_records
from mindgap_data.rows.writing import JsonlWriter, RecordWriter

EXPERT = record(tier="expert", behavior_logprobs=None, expert_logprobs=None, expert_token_ids=None)
ODD = [
    ("absent, null and there", [{"a": 1}, {"a": None}, {}]),
    ("absent and there", [{"a": [1]}, {}]),
    ("two types", [{"a": 1}, {"a": "one"}, {"a": [{"b": {}}]}]),
    ("integers beyond 64 bits", [{"a": 2**63}, {"a": -(2**63)}]),
    ("integers among floats", [{"a": [1, 2.5, -0.0]}]),
    ("true is no integer", [{"a": [True, 1]}]),
    ("empty", [{"a": {}, "b": [], "c": [[]], "d": [None], "e": ""}]),
    ("half a surrogate pair", [{"a": "\ud800"}, {"a": "fine"}]),
    ("an object that is a dictionary", [{"a": {f"{n}-{k}": k for k in range(50)}} for n in range(3)]),
    ("deep", [{"a": json.loads("[" * 50 + "]" * 50)}]),
    ("a list of lists of objects", [{"a": [[{"b": 1}, {"c": None}], []]}, {"a": [[{"b": 2, "c": "x"}]]}]),
    ("a field called item", [{"item": [{"item": 1}]}, {"item": []}]),
    ("columns that change", [{f"c{n}": n} for n in range(100)]),
    ("a row without columns", [{"a": 1}, {}]),
]


def write(path: Path, rows: list[Any]) -> Path:
    with JsonlWriter(path) as writer:
        for row in rows:
            writer.write(row)
        writer.finish()
    return path


def exact(value: Any) -> Any:
    """A value in which 1, 1.0 and true differ, and the order of fields does not count."""
    return json.dumps(value, sort_keys=True)


@pytest.mark.parametrize(("what", "rows"), ODD, ids=[what for what, _ in ODD])
@pytest.mark.parametrize("name", ["out.parquet", "out.jsonl.gz", "out.odd"])
def test_odd_rows_come_back_as_they_were(tmp_path: Path, name: str, what: str, rows: list[dict[str, Any]]) -> None:
    path = write(tmp_path / name, rows)
    assert [exact(row) for _, row in read_rows(path)] == [exact(row) for row in rows]
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from(["a", "b", "item"]), JSON, min_size=1, max_size=3), min_size=1, max_size=4
    )
)
@settings(max_examples=60, deadline=None)
def test_any_rows_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    path = write(tmp_path_factory.mktemp("any") / "out.parquet", rows)
    assert [exact(row) for _, row in read_rows(path)] == [exact(row) for row in rows]


def test_records_come_back_the_same_and_other_readers_see_columns(tmp_path: Path) -> None:
    rows = [record(id=f"r{n}", source={"deep": [n]}) for n in range(3)] + [EXPERT]
    path = tmp_path / "out.parquet"
    with RecordWriter(path) as writer:
        for row in rows:
            writer.write(Record.from_row(row))
        writer.finish()
    assert [one.as_row() for _, one in read_records(path)] == rows
    table = pyarrow.parquet.read_table(path)
    assert table.schema.field("response_token_ids").type == pyarrow.list_(pyarrow.int64())
    assert table.schema.field("behavior_logprobs").type == pyarrow.list_(pyarrow.float64())
    assert table["messages"][0].as_py() == rows[0]["messages"]
    assert table["provenance"][0]["sampling"]["temperature"].as_py() == 1.0


def test_a_table_is_written_in_groups_and_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_GROUP_BYTES", 500)
    rows = [{"n": n, "text": "x" * (n % 7)} for n in range(200)]
    path = write(tmp_path / "out.parquet", rows)
    assert pyarrow.parquet.ParquetFile(path).num_row_groups > 5
    assert list(read_rows(path)) == list(enumerate(rows, start=1))


def test_an_empty_output_has_no_rows_in_any_format(tmp_path: Path) -> None:
    for name in ("out.jsonl", "out.jsonl.gz", "out.parquet"):
        assert list(read_raw_rows(write(tmp_path / name, []))) == []


@pytest.mark.parametrize("name", ["out.jsonl.gz", "out.parquet"])
def test_the_same_rows_give_the_same_bytes_under_any_name(tmp_path: Path, name: str) -> None:
    rows = [{"n": n, "ids": [n, 2]} for n in range(50)]
    (tmp_path / "other").mkdir()
    first, second = write(tmp_path / name, rows), write(tmp_path / "other" / f"b-{name}", rows)
    assert first.read_bytes() == second.read_bytes()


def test_gzip_is_gzip(tmp_path: Path) -> None:
    assert gzip.decompress(write(tmp_path / "out.jsonl.gz", [{"n": 1}]).read_bytes()) == b'{"n":1}\n'


def test_rows_without_any_column_are_refused_and_not_lost(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        write(tmp_path / "out.parquet", [{}])
    assert refused.value.message == (
        f"{tmp_path}/out.parquet: cannot be written as parquet: no row has a column; choose a .jsonl output"
    )


def test_a_failure_leaves_the_old_table_and_nothing_else(tmp_path: Path) -> None:
    path = write(tmp_path / "out.parquet", [{"n": 1}])
    with pytest.raises(UserError) as refused:
        write(path, [{"\ud800": 1}])
    assert refused.value.message == (
        f"{path}: cannot be written as parquet: 'utf-8' codec can't encode character '\\ud800' in position 0: "
        "surrogates not allowed; choose a .jsonl output"
    )
    assert list(read_rows(path)) == [(1, {"n": 1})]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.parquet"]


@pytest.mark.parametrize("cut", [10, -10])
def test_a_torn_table_is_named(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path / "out.parquet", [{"n": n} for n in range(100)])
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError) as refused:
        list(read_rows(path))
    assert refused.value.message.startswith(f"{path}: cannot be read as parquet: ")
    assert "\n" not in refused.value.message


def test_without_pyarrow_the_remedy_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "find_spec", lambda name: None)
    with pytest.raises(UserError) as refused:
        write(tmp_path / "out.parquet", [{"n": 1}])
    assert refused.value.message == (f"{tmp_path}/out.parquet: parquet needs pyarrow: pip install 'mindgap[datasets]'")
    assert list(tmp_path.iterdir()) == []


def test_a_layout_does_not_grow_with_the_keys_of_a_dictionary() -> None:
    found = layout.Layout()
    for n in range(10_000):
        found.add({"a": {str(n): n}})
    assert found.root().children["a"].kind == "json"
    assert len(found._children["a"]._children) <= layout._MOST_FIELDS + 1
