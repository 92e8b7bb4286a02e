"""Importance resampling against full enumeration: every pair of draws from a model whose responses can be listed."""

import itertools
import math

import numpy as np
import pytest

from enumerable import SEQUENCES, Model
from mindgap_data.engines import Sampling
from mindgap_data.rewrite.pickers import resample, selection_name, uniform_number
from mindgap_data.rewrite.records import Response
from mindgap_data.run.outcomes import Attempt
from procedure import drive, plan, problem

# pi_0 under the plain prompt and mu under the guided one, of all 81 responses; correct: those that end in token 0.
POLICY, GUIDED = (Model.random(seed).log_probs().detach().numpy() for seed in (0, 1))
TEXTS = ["".join("abc"[token] for token in sequence) for sequence in SEQUENCES.tolist()]
PASS_RATE = math.fsum(math.exp(math.fsum(p)) for p, text in zip(POLICY, TEXTS, strict=True) if text[-1] == "a")


def response(log_weight: float) -> Response:
    return Response("guided", "x", (1, 2), (-1.0, -2.0), (-1.0 + log_weight / 2, -2.0 + log_weight / 2), "full")


def test_the_mean_weight_is_an_unbiased_estimate_of_the_plain_pass_rate() -> None:
    """E[mean] over all 81^2 pairs of guided draws, through the whole procedure of a problem, is the pass rate."""
    how = plan(Sampling(), stages=("guided", "expert"), samples=2, guided_picker="sir")
    ids = {text: (*map(ord, text), 0) for text in TEXTS}
    policy = {ids[text]: (*p, 0.0) for text, p in zip(TEXTS, POLICY, strict=True)}
    draws = [
        Attempt("correct" if text[-1] == "a" else "wrong", 5, text, ids[text], (*map(float, mu), 0.0))
        for text, mu in zip(TEXTS, GUIDED, strict=True)
    ]
    chances = [math.exp(math.fsum(draw.logprobs)) for draw in draws]
    assert math.fsum(chances) == pytest.approx(1, abs=1e-12)
    naive = math.fsum(chance for chance, draw in zip(chances, draws, strict=True) if draw.verdict == "correct")
    assert abs(naive - PASS_RATE) > 0.05, "the guided pass rate is another"
    terms, chosen = [], 0
    for i, j in itertools.product(range(81), repeat=2):
        if "correct" not in (draws[i].verdict, draws[j].verdict):
            continue  # a stage without a correct draw counts as 0
        record, _ = drive(problem(), how, [draws[i], draws[j]], lambda ids: tuple(map(float, policy[tuple(ids)])))
        resampling = record.attempts.resampling
        assert resampling is not None
        terms.append(chances[i] * chances[j] * resampling.mean)
        correct = [draws[k].text for k in (i, j) if draws[k].verdict == "correct"]
        assert record.messages[-1].content == correct[resampling.chosen]
        chosen += resampling.chosen
    assert math.fsum(terms) == pytest.approx(PASS_RATE, rel=1e-12)
    assert chosen, "the second draw must be chosen at times"


@pytest.mark.parametrize("power", [1.0, 0.5, 0.0])
def test_a_response_is_chosen_in_proportion_to_its_weight(power: float) -> None:
    log_weights = [-3.0, -1.0, -2.5]
    candidates = [response(one) for one in log_weights]
    grid = (np.arange(20_000) + 0.5) / 20_000
    found = np.bincount([resample(candidates, 4, u, power).chosen for u in grid], minlength=3) / len(grid)
    wanted = [math.exp(power * one) for one in log_weights]
    assert found == pytest.approx([one / sum(wanted) for one in wanted], abs=1e-4)


def test_what_is_recorded_is_of_the_untempered_weights() -> None:
    weights = [0.5, 0.25]
    found = resample([response(math.log(one)) for one in weights], 4, 0.0, power=0.5)
    assert found.log_weights == pytest.approx([math.log(one) for one in weights], abs=1e-12)
    assert found.ess == pytest.approx(0.75**2 / (0.25 + 0.0625), rel=1e-12)
    assert found.mean == pytest.approx(0.75 / 4, rel=1e-12)


@pytest.mark.parametrize("log_weights", [[-2000.0, -2001.0], [900.0, 0.0]])
def test_weights_that_no_float_holds_still_choose(log_weights: list[float]) -> None:
    found = resample([response(one) for one in log_weights], 2, 0.5)
    assert found.chosen == 0
    assert math.isfinite(found.mean)
    assert 1 <= found.ess <= 2


def test_the_random_number_follows_from_seed_and_row_alone() -> None:
    numbers = np.array([uniform_number(seed, f"row {n}") for seed in range(20) for n in range(100)])
    assert uniform_number(3, "row 7") == numbers[307]
    assert len(set(numbers)) == len(numbers)
    assert np.all((numbers >= 0) & (numbers < 1))
    assert numbers.mean() == pytest.approx(0.5, abs=0.03)


def test_a_tempered_choice_says_so() -> None:
    assert [selection_name("sir", 1.0), selection_name("sir", 0.5), selection_name("first", 1.0)] == [
        "sir",
        "sir:0.5",
        "first",
    ]
