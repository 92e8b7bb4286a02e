"""Figures of an evaluation against enumeration, Monte Carlo, scipy and numbers done by hand."""

from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from mindgap_data.evaluation.accuracy import (
    Drawn,
    ProblemResult,
    answer_vote,
    average_figures,
    benchmark_figures,
    ks_up_to,
    majority_vote,
    pass_at_k,
)


def drawn(text: str) -> tuple[Drawn, ...]:
    """One draw a word: an answer with ! when right; - no answer, / truncated, ? checker error, # failed."""
    outcomes = {"-": "no_answer", "/": "truncated", "?": "checker_error", "#": "failed"}
    return tuple(
        Drawn(outcomes[word], 10, None)
        if word in outcomes
        else Drawn("correct" if word.endswith("!") else "wrong", 10, word.rstrip("!"))
        for word in text.split()
    )


def result(text: str, key: str = "a", benchmark: str = "b") -> ProblemResult:
    return ProblemResult(benchmark, key, drawn(text))


@pytest.mark.parametrize(
    ("n", "c", "k"), [(n, c, k) for n in range(1, 8) for c in range(n + 1) for k in range(1, n + 1)]
)
def test_pass_at_k_is_the_share_of_subsets_with_a_right_draw(n: int, c: int, k: int) -> None:
    right = [i < c for i in range(n)]
    subsets = list(combinations(right, k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(any(subset) for subset in subsets) / len(subsets), abs=1e-12)


@pytest.mark.parametrize(("n", "p", "k"), [(5, 0.3, 2), (6, 0.1, 6), (4, 0.8, 3)])
def test_pass_at_k_is_unbiased(n: int, p: float, k: int) -> None:
    expected = sum(stats.binom.pmf(c, n, p) * pass_at_k(n, c, k) for c in range(n + 1))
    assert expected == pytest.approx(1 - (1 - p) ** k, abs=1e-12)
    plug_in = sum(stats.binom.pmf(c, n, p) * (1 - (1 - c / n) ** k) for c in range(n + 1))
    assert abs(plug_in - (1 - (1 - p) ** k)) > 1e-3, "the case would not tell the biased estimate apart"


def test_pass_at_k_of_many_draws_does_not_overflow() -> None:
    # 1 - C(9990, 100) / C(10000, 100), by hypergeometric distribution.
    assert pass_at_k(10_000, 10, 100) == pytest.approx(1 - stats.hypergeom.pmf(0, 10_000, 10, 100), rel=1e-9)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 2, 5), (4, 2, 0), (4, 5, 1), (4, -1, 1)])
def test_pass_at_k_refuses_impossible_counts(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"got n={n}, c={c}, k={k}"):
        pass_at_k(n, c, k)


MAJORITY = [
    ("7! 7! 8", 1.0),
    ("7! 8 8", 0.0),
    ("7! 8", 0.5),  # a tie: one of the two at random
    ("7! 7! 8 8 9 9 3", 1 / 3),
    ("7! / / / -", 1.0),  # draws without an answer abstain
    ("/ - # ?", 0.0),
    ("-", 0.0),
    ("7! 7", 0.5),  # the same answer judged differently
]


@pytest.mark.parametrize(("text", "share"), MAJORITY)
def test_majority_vote(text: str, share: float) -> None:
    assert majority_vote(drawn(text)) == pytest.approx(share)


def test_majority_is_what_random_tie_breaking_gives_on_average() -> None:
    rng = np.random.default_rng(0)
    for text in (" ".join(words) for words in product(["7!", "8", "-"], repeat=4)):
        votes = [draw for draw in drawn(text) if draw.vote]
        wins = []
        for _ in range(400):
            # Shuffle, then take the first of the most frequent: ties fall either way evenly.
            order = rng.permutation(len(votes))
            counts: dict[str, int] = {}
            for i in order:
                counts[str(votes[i].vote)] = counts.get(str(votes[i].vote), 0) + 1
            wins.append(bool(counts) and max(counts, key=lambda vote: counts[vote]) == "7")
        assert majority_vote(drawn(text)) == pytest.approx(np.mean(wins), abs=0.11)


SAME = [
    ("The answer is \\boxed{7}.", "So it is 7 in all.", "7"),
    ("\\boxed{0.5}", "\\boxed{\\frac{1}{2}}", "1/2"),
    ("#### 1,200", "\\boxed{1200}", "1200"),
    ("\\boxed{\\$5}", "The answer is 5 dollars.", "5"),
    ("\\boxed{\\left( 1, 2 \\right)}", "\\boxed{(1,2)}", "(1,2)"),
    ("\\boxed{\\dfrac{x}{2}}", "\\boxed{\\frac{x}{2}}", "\\frac{x}{2}"),
    ("The answer is (B).", "\\boxed{B}", "b"),
]


@pytest.mark.parametrize(("one", "other", "vote"), SAME)
def test_equal_answers_vote_together(one: str, other: str, vote: str) -> None:
    assert (answer_vote(one), answer_vote(other)) == (vote, vote)


@pytest.mark.parametrize("text", ["I do not know.", "", "<think> it is \\boxed{7}"])
def test_a_response_without_an_answer_abstains(text: str) -> None:
    assert answer_vote(text) is None


def test_different_answers_do_not_vote_together() -> None:
    assert len({answer_vote(f"\\boxed{{{x}}}") for x in ("7", "-7", "7.5", "70", "x", "x+1", "(1,2)", "(2,1)")}) == 8


def test_k_of_pass_at_k() -> None:
    assert [ks_up_to(n) for n in (1, 2, 4, 6, 16)] == [[1], [1, 2], [1, 2, 4], [1, 2, 4, 6], [1, 2, 4, 8, 16]]


def test_figures_of_a_benchmark_by_hand() -> None:
    results = [result("7! 7! 8 -"), result("1 2 / /"), result("5! ? # 5!")]
    figures = benchmark_figures("b", results)
    assert (figures.problems, figures.samples, figures.tokens) == (3, 4, 10.0)
    assert figures.accuracy.estimate == pytest.approx((2 / 4 + 0 + 2 / 4) / 3)
    # pass@2 with 2 of 4 right: 1 - C(2,2)/C(4,2) = 5/6.
    assert {k: figures.pass_at[k].estimate for k in figures.pass_at} == pytest.approx(
        {1: 1 / 3, 2: (5 / 6 + 5 / 6) / 3, 4: 2 / 3}
    )
    assert figures.majority.estimate == pytest.approx((1 + 0 + 1) / 3)
    assert figures.shares == pytest.approx(
        {
            "correct": 4 / 12,
            "wrong": 3 / 12,
            "no_answer": 1 / 12,
            "truncated": 2 / 12,
            "checker_error": 1 / 12,
            "failed": 1 / 12,
        }
    )
    assert sum(figures.shares.values()) == pytest.approx(1)


def test_without_a_vote_there_is_no_majority() -> None:
    code = ProblemResult("b", "a", (Drawn("correct", 10, None), Drawn("truncated", 10, None)))
    assert benchmark_figures("b", [code]).as_dict()["majority"] == {"estimate": None, "low": None, "high": None}


def test_the_interval_is_that_of_problems_not_of_draws() -> None:
    # Two kinds of problem, 16 draws that all agree: 40 independent facts, not 640.
    results = [result("7! " * 16 if i % 2 else "8 " * 16, str(i)) for i in range(40)]
    accuracy = benchmark_figures("b", results).accuracy
    reference = stats.bootstrap(
        (np.array([r.accuracy for r in results]),), np.mean, method="percentile", n_resamples=9999, rng=1
    ).confidence_interval
    assert (accuracy.low, accuracy.high) == pytest.approx((reference.low, reference.high), abs=0.02)
    over_draws = 1.96 * 0.5 / np.sqrt(640)
    assert accuracy.high - accuracy.estimate > 3 * over_draws


def test_the_average_weighs_benchmarks_the_same_and_resamples_within_each() -> None:
    small = [result("7!", str(i), "small") for i in range(10)]
    large = [result("7!" if i % 4 == 0 else "8", str(i), "large") for i in range(400)]
    average = average_figures([small, large])
    assert average.accuracy.estimate == pytest.approx((1.0 + 0.25) / 2)
    # Only `large` varies: its standard error halved.
    assert average.accuracy.high - average.accuracy.low == pytest.approx(
        2 * 1.96 * np.sqrt(0.25 * 0.75 / 400) / 2, rel=0.15
    )
    assert average.problems == 410
