"""Each fault of a file is named when it is there, and only then."""

import numpy as np
import pytest

from audited import EXPERT, OWN, record
from mindgap_data.checks.data import gap_findings, tally_findings
from mindgap_data.checks.finding import RowFinding
from mindgap_data.checks.tally import FileTally
from mindgap_data.gap.figures import Settings, gap_figures
from mindgap_data.gap.records import GapRow
from mindgap_data.gap.sums import reduce_rows
from mindgap_data.record import Record


def rows_of(tier, count, chosen=-0.5, behavior=-0.5, expert=-1.0, spread=0.0, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        policy = np.full(8, chosen) + spread * rng.normal(size=8)
        mu = None if tier == "expert" else np.full(8, behavior)
        text = policy if tier == "expert" else None if expert is None else np.full(8, expert)
        rows.append(GapRow(1, tier, policy, policy, mu, text))
    return rows


def titles(rows):
    figures = gap_figures(reduce_rows(rows, "truncate", 2.0), Settings(resamples=200))
    return [(finding.severity, finding.title) for finding in gap_findings(figures)]


NARROWED = ("good", "Rewriting narrowed the policy gap")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (rows_of("self", 40), [NARROWED]),
        (rows_of("self", 40, chosen=-2.0, behavior=-2.0), [("bad", "Rewriting widened the policy gap")]),
        # A plain SFT file, scored: there is no rewriting to judge.
        (rows_of("expert", 40), []),
        (
            rows_of("self", 20) + rows_of("self", 20, expert=None),
            [("warn", "Not every row can be compared with its expert"), NARROWED],
        ),
        (
            rows_of("self", 20) + rows_of("guided", 20, chosen=-3.0, behavior=-3.0, expert=-4.0, spread=1.5),
            [
                NARROWED,
                ("warn", "High weight variance in the guided tier"),
                ("warn", "Much of the guided tier is clipped"),
            ],
        ),
        (
            rows_of("self", 20) + rows_of("guided", 20, chosen=-0.9, behavior=-0.5),
            [NARROWED, ("warn", "Guided responses lean on the solution they were shown")],
        ),
        (
            rows_of("self", 40, chosen=-0.5, behavior=-0.65),
            [NARROWED, ("warn", "Self responses were not drawn from the measured policy")],
        ),
        # Rounding of a bfloat16 engine is not another policy.
        (rows_of("self", 40, chosen=-0.5, behavior=-0.55), [NARROWED]),
        (rows_of("self", 9), []),
    ],
)
def test_the_gap_is_judged(rows, expected):
    assert titles(rows) == expected


def test_no_difference_is_called_none():
    rows = [row for i in range(20) for row in rows_of("self", 1, expert=-0.4 if i % 2 else -0.6)]
    assert titles(rows) == [("warn", "No sign that rewriting narrowed the policy gap")]


def tallied(count=40, tier="self", text=OWN, kind=None, faulty=0, **attempts):
    tally = FileTally()
    for index in range(count):
        row = Record.from_row(record(f"r{index}", text, tier, attempts=attempts))
        tally.add(row, [RowFinding(kind, "")] if index < faulty else [])
    return tally


def draws(**counts):
    """A stage in which every row has the same 100 draws."""
    return {"sampled": 100} | counts


@pytest.mark.parametrize(
    ("tally", "expected"),
    [
        (tallied(), []),
        # At the thresholds nothing is said.
        (tallied(self=draws(truncated=10, no_answer=30, checker_error=1, leaked=10)), []),
        (
            tallied(self=draws(truncated=11, no_answer=31, checker_error=2)),
            [
                (
                    "truncated.self",
                    "Many draws are truncated in the self stage: 11.0% of 4,000 draws, above 10%. "
                    "Raise --max-tokens: long but right solutions are thrown away.",
                ),
                (
                    "no_answer.self",
                    "Many draws end without an answer in the self stage: 31.0% of 4,000 draws, above 30%. "
                    "Ask for the answer's form with --instruction, for example 'Put the final answer in \\boxed{}.'",
                ),
                (
                    "checker_error.self",
                    "The verifier fails on some draws in the self stage: 2.0% of 4,000 draws, above 1%. They count as "
                    "unusable. Run `mindgap-data verify` on the file to see which, or use another verifier.",
                ),
            ],
        ),
        (
            tallied(guided=draws(leaked=11)),
            [
                (
                    "leaked.guided",
                    "Many draws give the shown solution away in the guided stage: 11.0% of 4,000 draws, above 10%. "
                    "Say in the guided prompt that the reader will not see the solution, and not to mention it.",
                )
            ],
        ),
        (
            tallied(kind="leak", faulty=1),
            [
                (
                    "leak",
                    "Rows with the finding leak: 1 of 40: mentions the reference solution. A trained model would refer "
                    "to solutions that nobody gave it: drop these rows.",
                )
            ],
        ),
        (tallied(kind="near_copy", faulty=4), []),
        (
            tallied(kind="near_copy", faulty=5),
            [
                (
                    "near_copy",
                    "Rows with the finding near_copy: 5 of 40: 60% or more of its 8-grams are the expert's. These rows "
                    "add little to the expert's text. Ask for the model's own words in the guided prompt.",
                )
            ],
        ),
        (
            tallied(text="It is 7."),
            [
                (
                    "short",
                    "Rewritten responses are much shorter than the expert's: median 3 against 21 words. Answers "
                    "without reasoning teach no reasoning. Ask for a step-by-step solution with --instruction, and "
                    "read the shortest rows.",
                )
            ],
        ),
        (
            tallied(tier="expert", text=EXPERT),
            [
                (
                    "expert_share",
                    "Few rows were rewritten: 100% of the rows are expert text, above 80%. The gap stays where nothing "
                    "is rewritten. Raise --samples, raise --max-tokens if draws are truncated, or start with problems "
                    "closer to what the model can do.",
                )
            ],
        ),
        (tallied(count=9, tier="expert", text=EXPERT), []),
    ],
)
def test_counts_over_a_file_are_judged(tally, expected):
    assert [(finding.rule, finding.in_words) for finding in tally_findings(tally)] == expected


@pytest.mark.parametrize(("tier", "found"), [("self", True), ("expert", False)])
def test_responses_that_nobody_checked_are_named(tier, found):
    row = record(tier=tier)
    row["provenance"] |= {"verifier": "none", "verifier_kind": "unchecked"}
    tally = FileTally()
    tally.add(Record.from_row(row), [])
    details = [finding.detail for finding in tally_findings(tally) if finding.rule == "unchecked"]
    assert details == (["1 of 1 self and guided rows are unchecked (--verifier none)"] if found else [])
