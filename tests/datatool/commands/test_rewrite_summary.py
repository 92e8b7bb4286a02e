"""The closing table and the progress line in a narrow terminal."""

from dataclasses import replace
from pathlib import Path

import pytest

from mindgap_data.commands.rewrite_summary import print_summary
from mindgap_data.rewrite.job import RewriteSummary
from mindgap_data.run.job import RunFiles
from mindgap_data.run.outcomes import Meter
from mindgap_data.run.progress import RunProgress

COUNTS = {"sampled": 1234, "correct": 1000, "wrong": 200, "truncated": 30, "no_answer": 4}


def summary() -> RewriteSummary:
    numbers = dict.fromkeys(RewriteSummary.__dataclass_fields__, 0)
    return RewriteSummary(
        **{
            **numbers,
            "rewritten": 1500,
            "hints": {"full": 400},
            "tiers": {"self": 1000, "guided": 400, "expert": 100},
            "stages": {"self": COUNTS, "guided": COUNTS},
            "pass_rate": 0.5,
        }  # type: ignore[arg-type]
    )


def test_a_narrow_terminal_gets_a_column_a_tier(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    print_summary(summary(), RunFiles.beside(Path("out.jsonl")))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[:11] == [
        "out.jsonl: 1500 rows",
        "tier            self  guided  expert",
        "rows            1000     400     100",
        "share          66.7%   26.7%    6.7%",
        "drawn           1234    1234       -",
        "correct         1000    1000       -",
        "wrong            200     200       -",
        "truncated         30      30       -",
        "no answer          4       4       -",
        "checker error      0       0       -",
        "leaked             0       0       -",
    ]


def test_progress_in_a_narrow_terminal_shows_every_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    detail = "12 of 400 rows finished (self 10, expert 2 written), 96 draws, 1,234 tokens (50/s), about 2 h left"
    bar, task = (progress := RunProgress("rewrite", 400, Meter()))._bar, progress._task
    assert bar is not None
    bar.update(task, completed=12, detail=detail)
    with bar.console.capture() as captured:
        bar.console.print(bar.get_renderable())
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= 40
    assert " ".join(" ".join(lines).replace("rewrite", "", 1).split()) == detail


def test_unchecked_draws_are_not_called_correct(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    print_summary(replace(summary(), unchecked=1400, pass_rate=None), RunFiles.beside(Path("out.jsonl")))
    output = capsys.readouterr().out
    assert "accepted" in output
    assert "correct" not in output
    assert "no pass rate" in output
    assert "1,400 of 1,400 self and guided rows are unchecked" in output
