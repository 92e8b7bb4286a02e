"""Histograms against numpy's own."""

import numpy as np

from mindgap_data.gap.records import GapRow
from mindgap_data.gap.sums import reduce_rows
from mindgap_data.record import TIERS
from mindgap_data.report.browser import RowCollection
from mindgap_data.report.histograms import histograms, scatter

RNG = np.random.default_rng(0)
ROWS = []
for number in range(120):
    tier = TIERS[number % 3]
    logprobs = -RNG.gamma(1.0, 1.0, size=5 + number % 7)
    expert = logprobs if tier == "expert" else None if number < 6 else -RNG.gamma(2.0, 1.0, size=4)
    ROWS.append(GapRow(1, tier, logprobs, logprobs, None if tier == "expert" else logprobs, expert))
SUMS = reduce_rows(ROWS, "truncate", 2.0)
OVERLAP = np.where(SUMS.tier == 2, np.nan, RNG.uniform(size=120))
COLLECTION = RowCollection(overlap=OVERLAP.tolist(), pass_rate=[0.0, 0.5, 1.0] * 40)
FOUND = histograms(SUMS, COLLECTION)


def numpy_counts(values, tiers, edges):
    return [np.histogram(np.clip(values[tiers == t], edges[0], edges[-1]), edges)[0].tolist() for t in range(3)]


def test_nll_and_length():
    chosen = np.array([-row.chosen.mean() for row in ROWS])
    assert FOUND["nll"].series["chosen"] == numpy_counts(chosen, SUMS.tier, FOUND["nll"].edges)
    paired = np.array([row.expert is not None for row in ROWS])
    expert = np.array([-row.expert.mean() for row in ROWS if row.expert is not None])
    assert FOUND["nll"].series["expert"] == numpy_counts(expert, SUMS.tier[paired], FOUND["nll"].edges)
    lengths = np.array([len(row.chosen) for row in ROWS])
    assert FOUND["tokens"].series["chosen"] == numpy_counts(lengths, SUMS.tier, FOUND["tokens"].edges)


def test_a_pass_rate_of_one_stands_in_the_last_bin():
    counts = np.sum(FOUND["pass_rate"].series["pass rate"], axis=0)
    assert (counts[0], counts[5], counts[9], counts.sum()) == (40, 40, 40, 120)


def test_overlap_is_of_rewritten_rows():
    overlap = FOUND["overlap"]
    rewritten = SUMS.tier != 2
    assert overlap.series["overlap"] == numpy_counts(OVERLAP[rewritten], SUMS.tier[rewritten], overlap.edges)


def test_scatter_holds_the_paired_rows():
    points = scatter(SUMS, seed=0)
    assert len(points) == sum(row.expert is not None for row in ROWS)
    for tier, expert, chosen in points:
        if TIERS[tier] == "expert":
            assert expert == chosen


def test_scatter_of_a_large_file_is_a_sample():
    many = reduce_rows(ROWS[6:] * 20, "none", 2.0)
    points = scatter(many, seed=0)
    assert len(points) == 1500
    assert points == scatter(many, seed=0)
