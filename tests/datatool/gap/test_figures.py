"""Every figure of the gap against a hand-checked value, scipy, or a Gaussian's closed form."""

import math

import numpy as np
import pytest
from scipy import special, stats

from gap_records import make_record, write_records
from mindgap_data.gap.figures import Settings, as_json, gap_figures
from mindgap_data.gap.measure import measure
from mindgap_data.gap.records import GapRow
from mindgap_data.gap.sums import BIN_EDGES, SIDES, reduce_rows
from mindgap_data.record import TIERS

LOG = math.log


def row(tier, chosen, behavior=None, expert=None, recorded=None):
    arrays = [None if a is None else np.array(a, dtype=float) for a in (chosen, recorded or chosen, behavior, expert)]
    return GapRow(1, tier, arrays[0], arrays[1], arrays[2], arrays[0] if tier == "expert" else arrays[3])


def figures(rows, **settings):
    settings = Settings(**{"resamples": 200, **settings})
    return gap_figures(reduce_rows(rows, settings.clip, settings.clip_max), settings)


# Two self rows, one guided, one expert; probabilities chosen so that sums can be done by hand.
HAND = [
    row("self", [LOG(0.5), LOG(0.5)], [LOG(0.5), LOG(0.5)], [LOG(0.25), LOG(0.25)]),
    row("self", [LOG(0.8)], [LOG(0.8)], [LOG(0.1)]),
    row("guided", [LOG(0.2), LOG(0.5)], [LOG(0.4), LOG(0.125)], [LOG(0.1), LOG(0.1), LOG(0.4)]),
    row("expert", [LOG(0.1), LOG(0.2)]),
]


def estimate(interval):
    return interval.estimate


def test_text_figures_by_hand():
    f = figures(HAND)["all"]
    assert (f.rows, f.paired, f.before.tokens, f.after.tokens) == (4, 4, 8, 7)
    expert_nll = -(2 * LOG(0.25) + LOG(0.1) + 2 * LOG(0.1) + LOG(0.4) + LOG(0.1) + LOG(0.2)) / 8
    chosen_nll = -(2 * LOG(0.5) + LOG(0.8) + LOG(0.2) + LOG(0.5) + LOG(0.1) + LOG(0.2)) / 7
    assert estimate(f.before.nll) == pytest.approx(expert_nll, rel=1e-12)
    assert estimate(f.after.nll) == pytest.approx(chosen_nll, rel=1e-12)
    # The geometric mean of the probabilities themselves, and its inverse.
    chosen = [0.5, 0.5, 0.8, 0.2, 0.5, 0.1, 0.2]
    assert estimate(f.after.probability) == pytest.approx(stats.gmean(chosen), rel=1e-12)
    assert estimate(f.after.perplexity) == pytest.approx(1 / stats.gmean(chosen), rel=1e-12)


def test_paired_difference_by_hand():
    f = figures(HAND)
    self_rows = [LOG(2) - LOG(4), -LOG(0.8) + LOG(0.1)]
    guided = -(LOG(0.2) + LOG(0.5)) / 2 + (2 * LOG(0.1) + LOG(0.4)) / 3
    assert estimate(f["self"].difference) == pytest.approx(np.mean(self_rows), rel=1e-12)
    assert estimate(f["guided"].difference) == pytest.approx(guided, rel=1e-12)
    assert estimate(f["expert"].difference) == 0
    assert estimate(f["all"].difference) == pytest.approx(np.mean([*self_rows, guided, 0]), rel=1e-12)
    assert estimate(f["all"].closer) == 3 / 4


def kish(weights):
    weights = np.asarray(weights)
    return weights.sum() ** 2 / (len(weights) * np.sum(weights**2))


@pytest.mark.parametrize(
    ("side", "weights"),
    [
        ("before", [0.25, 0.25, 0.1, 0.1, 0.1, 0.4, 0.1, 0.2]),
        ("after", [1, 1, 1, 0.5, 4, 0.1, 0.2]),  # pi/mu; pi itself on the expert row
        ("after_dft", [0.5, 0.5, 0.8, 0.2, 0.5, 0.1, 0.2]),
    ],
)
def test_token_weights_by_hand(side, weights):
    w = figures(HAND)["all"].weights[side]["token"]
    assert w.count == len(weights)
    assert estimate(w.ess_fraction) == pytest.approx(kish(weights), rel=1e-12)
    assert estimate(w.mean) == pytest.approx(np.mean(weights), rel=1e-12)
    assert estimate(w.variance) == pytest.approx(np.var(weights), rel=1e-12)
    assert estimate(w.chi_square) == pytest.approx(np.var(weights) / np.mean(weights) ** 2, rel=1e-12)
    assert w.max == pytest.approx(max(weights), rel=1e-12)


@pytest.mark.parametrize(
    ("level", "weights"),
    [("sequence", [1, 1, 0.5 * 4, 0.1 * 0.2]), ("geometric", [1, 1, math.sqrt(2), math.sqrt(0.02)])],
)
def test_row_level_weights_by_hand(level, weights):
    w = figures(HAND)["all"].weights["after"][level]
    assert w.count == 4
    assert estimate(w.ess_fraction) == pytest.approx(kish(weights), rel=1e-12)
    assert estimate(w.variance) == pytest.approx(np.var(weights), rel=1e-12)
    assert w.max == pytest.approx(max(weights), rel=1e-12)


@pytest.mark.parametrize(
    ("clip", "bound", "share"),
    [("truncate", 2.0, 1 / 7), ("truncate", 5.0, 0), ("mask", 2.5, 3 / 7), ("none", 1.0, 0)],
)
def test_clipped_share_counts_what_the_clip_changes(clip, bound, share):
    # Weights of "after": 1, 1, 1, 0.5, 4, 0.1, 0.2.
    w = figures(HAND, clip=clip, clip_max=bound)["all"].weights["after"]["token"]
    assert estimate(w.clipped_share) == pytest.approx(share, rel=1e-12)


def test_kl_and_prompt_gap_by_hand():
    f = figures(HAND)
    ratios = np.log([1, 1, 1, 0.5, 4])
    kl = f["all"].kl
    assert estimate(kl.k1) == pytest.approx(-ratios.mean(), rel=1e-12)
    assert estimate(kl.k2) == pytest.approx(np.mean(ratios**2) / 2, rel=1e-12)
    assert estimate(kl.k3) == pytest.approx(np.mean(np.exp(ratios) - 1 - ratios), rel=1e-12)
    assert f["expert"].kl is None
    assert f["self"].prompt_gap is None
    assert estimate(f["guided"].prompt_gap.per_token) == pytest.approx(LOG(2) / 2, rel=1e-12)
    assert estimate(f["guided"].prompt_gap.per_response) == pytest.approx(LOG(2), rel=1e-12)
    # Self rows are no guided rows: the prompt gap of all is that of the guided ones.
    assert estimate(f["all"].prompt_gap.per_token) == pytest.approx(LOG(2) / 2, rel=1e-12)


def test_log_weight_of_a_rescored_guided_row_is_drift_plus_prompt_gap():
    # log W = log pi_theta/pi_0 (plain prompt) + log pi_0 (plain)/pi_0 (guided).
    f = figures([row("guided", [-1.0, -2.0], [-0.5, -0.25], [-3.0], recorded=[-1.5, -2.25])])["all"]
    assert estimate(f.drift.per_response) == pytest.approx(0.75)
    assert estimate(f.prompt_gap.per_response) == pytest.approx(-3.0)
    total = estimate(f.weights["after"]["sequence"].mean)
    assert math.log(total) == pytest.approx(0.75 - 3.0)


def test_gaussian_policy_and_behavior_have_their_closed_forms():
    """pi = N(m, 1), mu = N(0, 1): KL(mu||pi) = m^2/2, chi^2 = exp(m^2) - 1, ESS/N -> exp(-m^2)."""
    m, rng = 0.5, np.random.default_rng(0)
    rows = []
    for _ in range(2000):
        x = rng.normal(size=100)
        # Densities below 1 are log-probs of narrow bins; the bin width cancels in the ratio.
        behavior, policy = stats.norm.logpdf(x) - 5, stats.norm.logpdf(x, m) - 5
        rows.append(row("guided", policy, behavior))
    f = figures(rows, resamples=500)["all"]
    w = f.weights["after"]["token"]
    for interval, truth in [
        (f.kl.k1, m * m / 2),
        (f.kl.k3, m * m / 2),
        (f.kl.k2, (m * m + m**4 / 4) / 2),  # E[l^2]/2 with l ~ N(-m^2/2, m^2)
        (w.mean, 1.0),
        (w.variance, math.expm1(m * m)),
        (w.chi_square, math.expm1(m * m)),
        (w.ess_fraction, math.exp(-m * m)),
        (w.clipped_share, stats.norm.sf((LOG(2) + m * m / 2) / m)),
    ]:
        assert interval.low < truth < interval.high
        assert interval.high - interval.low < 0.1 * truth + 0.01


def test_sequence_ess_of_iid_lognormal_tokens_falls_as_theory_says():
    """ESS/N = exp(-T sigma^2) for T independent log-normal token ratios."""
    sigma, length, rng = 0.1, 50, np.random.default_rng(1)
    rows = []
    for _ in range(5000):
        ratio = rng.normal(-sigma * sigma / 2, sigma, size=length)
        rows.append(row("guided", ratio - 10, np.full(length, -10.0)))
    ess = figures(rows, resamples=300)["all"].weights["after"]["sequence"].ess_fraction
    assert ess.low < math.exp(-length * sigma * sigma) < ess.high


def test_self_rows_of_an_unchanged_policy_have_unit_weights():
    rng = np.random.default_rng(2)
    logprobs = [-rng.gamma(0.5, 1, size=30) for _ in range(20)]
    f = figures([row("self", p, p, p - 1) for p in logprobs])["self"]
    for level in ("token", "sequence", "geometric"):
        w = f.weights["after"][level]
        assert estimate(w.ess_fraction) == pytest.approx(1, abs=1e-12)
        assert estimate(w.variance) == pytest.approx(0, abs=1e-12)
    assert estimate(f.kl.k1) == 0
    assert estimate(f.difference) == pytest.approx(-1)


def test_ess_interval_agrees_with_scipy_bootstrap_over_rows():
    rng = np.random.default_rng(3)
    rows = [row("expert", -rng.gamma(0.3, 1.5, size=rng.integers(3, 30))) for _ in range(80)]
    ours = figures(rows, resamples=5000)["expert"].weights["before"]["token"].ess_fraction
    sums = np.array([[len(r.chosen), np.exp(r.chosen).sum(), np.exp(2 * r.chosen).sum()] for r in rows])
    theirs = stats.bootstrap(
        tuple(sums.T),
        lambda n, s, q, axis: s.sum(axis) ** 2 / (n.sum(axis) * q.sum(axis)),
        paired=True,
        method="percentile",
        n_resamples=5000,
        rng=4,
        vectorized=True,
    ).confidence_interval
    width = theirs.high - theirs.low
    assert abs(ours.low - theirs.low) < 0.05 * width
    assert abs(ours.high - theirs.high) < 0.05 * width


def test_huge_and_tiny_log_weights_stay_finite():
    # e^900 overflows and e^-2000 underflows a float64; ESS is of the ratio, which does neither.
    f = figures([row("guided", [-1.0], [-901.0], [-2000.0]), row("guided", [-1.0], [-901.0], [-2000.0])])["all"]
    w = f.weights["after"]["token"]
    assert estimate(w.ess_fraction) == pytest.approx(1)
    assert w.max == math.inf
    assert estimate(f.weights["before"]["sequence"].ess_fraction) == pytest.approx(1)
    assert as_json(w)["max"] is None


def test_blocks_do_not_change_the_sums(monkeypatch):
    rng = np.random.default_rng(5)
    rows = [row("self", p := -rng.gamma(1, 1, 7), p + 0.01 * rng.normal(size=7), p - 1) for _ in range(25)]
    whole = reduce_rows(rows, "mask", 2.0)
    monkeypatch.setattr("mindgap_data.gap.sums._BLOCK_TOKENS", 20)
    parts = reduce_rows(rows, "mask", 2.0)
    for side in SIDES:
        for name in whole.sides[side].dtype.names:
            np.testing.assert_allclose(parts.sides[side][name], whole.sides[side][name], rtol=1e-12)
    np.testing.assert_array_equal(parts.histogram, whole.histogram)


def test_row_sums_are_log_sums_of_exponentials():
    logs = np.array([-3.0, -0.1, -20.0])
    sums = reduce_rows([row("expert", logs)], "none", 2.0).sides["before"][0]
    assert sums["log_sum"] == pytest.approx(special.logsumexp(logs), rel=1e-12)
    assert sums["log_sum_squares"] == pytest.approx(special.logsumexp(2 * logs), rel=1e-12)
    assert sums["log_max"] == -0.1


def test_histogram_counts_every_token_with_the_outliers_in_the_end_bins():
    rows = [row("guided", [-50.0, -0.1, -0.1], [-0.1, -50.0, -0.2])]
    counts = reduce_rows(rows, "none", 2.0).histogram[SIDES.index("after"), TIERS.index("guided")]
    assert counts.sum() == 3
    assert counts[0] == counts[-1] == 1
    assert counts[np.searchsorted(BIN_EDGES, 0.1, side="right") - 1] == 1


def test_rows_without_expert_logprobs_are_counted_and_left_out_of_pairs():
    f = figures([row("self", [-1.0], [-1.0]), row("self", [-1.0], [-1.0], [-3.0])])["self"]
    assert (f.rows, f.paired, f.before.rows, f.after.rows) == (2, 1, 1, 2)
    assert estimate(f.difference) == -2
    assert f.weights["before"]["token"].count == 1


def test_a_tier_without_rows_has_no_figures_and_one_without_pairs_no_before(tmp_path):
    gap = measure(write_records(tmp_path / "a.jsonl", [make_record("self", [-1.0], [-1.0])]), Settings(resamples=10))
    assert gap.figures["guided"] is None
    only = gap.figures["self"]
    assert (only.before, only.difference, only.closer) == (None, None, None)
    assert "before" not in only.weights
    assert gap.notices == (
        f"{tmp_path}/a.jsonl: no guided rows",
        f"{tmp_path}/a.jsonl: no expert rows",
        f"{tmp_path}/a.jsonl: 1 of 1 rows have no expert_logprobs and are left out of the expert's figures; "
        "add them with `mindgap-data score --expert`, or rescore with --model",
    )
