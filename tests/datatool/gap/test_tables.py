"""The table at different widths: nothing is cut, and what is left out is said."""

import io

import pytest
from rich.console import Console

from gap_records import make_record, write_records
from mindgap_data.gap.figures import Settings
from mindgap_data.gap.measure import measure
from mindgap_data.gap.tables import gap_tables

SETTINGS = Settings(resamples=20)
ROWS = [
    make_record("self", [-1.0, -2.0], [-1.0, -2.0], [-3.0, -3.5]),
    make_record("self", [-0.5, -0.1], [-0.5, -0.1], [-2.0]),
    make_record("guided", [-1.0, -0.5], [-0.75, -0.25], [-2.0]),
    make_record("expert", [-2.5, -2.0, -0.5]),
]


def render(files, width):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(gap_tables(files, SETTINGS, console, rescored=False))
    return console.file.getvalue()


@pytest.fixture
def files(tmp_path):
    return [measure(write_records(tmp_path / f"{name}.jsonl", ROWS), SETTINGS) for name in "ab"]


def line_of(text, label):
    return next(line for line in text.splitlines() if line.strip().startswith(label))


@pytest.mark.parametrize(("width", "intervals", "says_so"), [(80, 1, True), (129, 1, True), (130, 4, False)])
def test_intervals_that_do_not_fit_are_left_out_and_announced(files, width, intervals, says_so):
    text = render(files[:1], width)
    line = line_of(text, "NLL/token, chosen")
    assert line.count("[") == intervals
    assert line.rstrip().endswith("]")
    assert ("A wider terminal, a pipe or --json shows them all." in " ".join(text.split())) is says_so
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize(("width", "intervals"), [(79, 0), (80, 2)])
def test_files_side_by_side_have_all_intervals_or_none(files, width, intervals):
    assert line_of(render(files, width), "NLL/token, expert").count("[") == intervals


def test_a_file_name_is_no_markup(tmp_path):
    gap = measure(write_records(tmp_path / "[red]x[link=y].jsonl", ROWS), SETTINGS)
    assert "[red]x[link=y].jsonl" in render([gap], 200)


@pytest.mark.parametrize(("clip", "label"), [("truncate", "above 2, chosen"), ("mask", "outside [1/2, 2], chosen")])
def test_the_clipped_share_is_named_by_its_bound(tmp_path, clip, label):
    settings = Settings(resamples=20, clip=clip)
    gap = measure(write_records(tmp_path / "a.jsonl", ROWS), settings)
    console = Console(file=io.StringIO(), width=200)
    console.print(gap_tables([gap], settings, console, rescored=False))
    assert line_of(console.file.getvalue(), label)
