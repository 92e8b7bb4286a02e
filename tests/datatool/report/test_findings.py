"""Each failure signature is named when it is there, and only then."""

import numpy as np
import pytest

from mindgap_data.gap.figures import Settings, gap_figures
from mindgap_data.gap.measure import FileGap
from mindgap_data.gap.rows import GapRow
from mindgap_data.gap.sums import reduce_rows
from mindgap_data.report.findings import data_findings
from mindgap_data.report.rows import RowCollection


def rows_of(tier, count, chosen=-0.5, behavior=-0.5, expert=-1.0, spread=0.0, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        policy = np.full(8, chosen) + spread * rng.normal(size=8)
        mu = None if tier == "expert" else np.full(8, behavior)
        text = policy if tier == "expert" else None if expert is None else np.full(8, expert)
        rows.append(GapRow(1, tier, policy, policy, mu, text))
    return rows


def collected(count=40, **changes):
    collection = RowCollection(characters=[(100, 100)] * count, overlap=[0.1] * count, pass_rate=[0.5] * count)
    for name, value in changes.items():
        if name in collection.attempts:
            collection.attempts[name].update(value)
        else:
            setattr(collection, name, value)
    return collection


def titles(rows, collection=None):
    sums = reduce_rows(rows, "truncate", 2.0)
    gap = FileGap(None, None, sums, gap_figures(sums, Settings(resamples=200)), ())
    return [(f.severity, f.title) for f in data_findings(gap, collection or collected(len(rows)))]


NARROWED = ("good", "Rewriting narrowed the policy gap")


@pytest.mark.parametrize(
    ("rows", "collection", "expected"),
    [
        (rows_of("self", 40), None, [NARROWED]),
        (
            rows_of("self", 40, chosen=-2.0, behavior=-2.0),
            None,
            [("bad", "Rewriting widened the policy gap")],
        ),
        (
            rows_of("expert", 36) + rows_of("self", 4),
            None,
            [("warn", "Few rows were rewritten"), NARROWED],
        ),
        # A plain SFT file, scored: there is no rewriting to judge.
        (rows_of("expert", 40), None, [("warn", "Few rows were rewritten")]),
        (
            rows_of("expert", 32) + rows_of("self", 8),
            None,
            [NARROWED],
        ),
        (
            rows_of("self", 20) + rows_of("self", 20, expert=None),
            None,
            [("warn", "Not every row can be compared with its expert"), NARROWED],
        ),
        (
            rows_of("self", 20) + rows_of("guided", 20, chosen=-3.0, behavior=-3.0, expert=-4.0, spread=1.5),
            None,
            [
                ("warn", "High weight variance in the guided tier"),
                ("warn", "Much of the guided tier is clipped"),
                NARROWED,
            ],
        ),
        (
            rows_of("self", 20) + rows_of("guided", 20, chosen=-0.9, behavior=-0.5),
            None,
            [("warn", "Guided responses lean on the solution they were shown"), NARROWED],
        ),
        (
            rows_of("self", 40, chosen=-0.5, behavior=-0.6),
            None,
            [("warn", "Self responses were not drawn from the measured policy"), NARROWED],
        ),
        (
            rows_of("self", 40),
            collected(self={"sampled": 100, "truncated": 11, "no_answer": 31, "checker_error": 2}),
            [
                ("warn", "Many draws are truncated in the self stage"),
                ("warn", "Many draws end without an answer in the self stage"),
                ("warn", "The verifier fails on some draws in the self stage"),
                NARROWED,
            ],
        ),
        (
            rows_of("self", 40),
            collected(guided={"sampled": 100, "leaked": 11}),
            [("warn", "Many draws give the shown solution away in the guided stage"), NARROWED],
        ),
        # At the limits nothing is said.
        (
            rows_of("self", 40),
            collected(self={"sampled": 100, "truncated": 10, "no_answer": 30, "checker_error": 1, "leaked": 10}),
            [NARROWED],
        ),
        (
            rows_of("self", 40),
            collected(leaks=1, near_copies=5),
            [
                ("bad", "Kept responses mention a reference solution"),
                ("warn", "Many rewrites copy the expert"),
                NARROWED,
            ],
        ),
        (
            rows_of("self", 40),
            collected(characters=[(30, 100)] * 40),
            [("warn", "Rewritten responses are much shorter than the expert's"), NARROWED],
        ),
    ],
)
def test_data_findings(rows, collection, expected):
    assert titles(rows, collection) == expected


def test_no_difference_is_called_none():
    rows = [row for i in range(20) for row in rows_of("self", 1, expert=-0.4 if i % 2 else -0.6)]
    assert ("warn", "No sign that rewriting narrowed the policy gap") in titles(rows)


def test_a_handful_of_rows_says_nothing_of_the_gap():
    assert titles(rows_of("self", 9)) == []
