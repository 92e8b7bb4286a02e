"""What fine-tuning cost, against numbers by hand and closed forms."""

import json

import numpy as np
import pytest

from mindgap_data.errors import UserError
from mindgap_data.evaluation.compare import Evaluation, compare
from mindgap_data.evaluation.scorecard import OwnSample, Scorecard, divergence, read_scorecards, text_change
from mindgap_data.evaluation.texts import TextScore, general_texts


def scores(per_token, registers=("news", "code")):
    return [TextScore(f"t{i}", registers[i % len(registers)], 10.0 * value, 10) for i, value in enumerate(per_token)]


def test_every_text_has_the_same_weight_whatever_its_length():
    before = [TextScore("a", "news", 100.0, 100), TextScore("b", "code", 2.0, 1)]
    after = [TextScore("a", "news", 150.0, 100), TextScore("b", "code", 2.0, 1)]
    change = text_change(before, after)
    assert (change.texts, change.before, change.after) == (2, 1.5, 1.75)
    assert change.difference.estimate == pytest.approx(0.25)
    assert change.registers == pytest.approx({"news": 0.5, "code": 0.0})


def test_a_shift_of_every_text_is_told_and_noise_is_not():
    rng = np.random.default_rng(0)
    base = rng.normal(3.0, 1.0, size=27)
    shifted = text_change(scores(base), scores(base + 0.1 + rng.normal(0, 0.02, size=27)))
    noisy = text_change(scores(base), scores(base + rng.normal(0, 0.02, size=27)))
    assert shifted.p_value < 0.001
    assert shifted.difference.low < 0.1 < shifted.difference.high
    assert noisy.p_value > 0.05


def test_kl_of_two_known_distributions_is_found_from_samples():
    after, before = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5])
    exact = float(np.sum(after * np.log(after / before)))
    rng = np.random.default_rng(0)
    draws = [rng.choice(3, p=after, size=20) for _ in range(800)]
    found = divergence([OwnSample(np.log(after[tokens]), np.log(before[tokens])) for tokens in draws])
    assert (found.samples, found.tokens) == (800, 16_000)
    for estimator in (found.k1, found.k3):
        assert estimator.low < exact < estimator.high
        assert estimator.estimate == pytest.approx(exact, rel=0.05)


def test_a_policy_has_no_divergence_from_itself():
    found = divergence([OwnSample([-1.0, -2.0], [-1.0, -2.0])] * 3)
    assert (found.k1.estimate, found.k3.estimate) == (0.0, 0.0)


def evaluation(folder, accuracy):
    return Evaluation(folder, {"samples": 1}, {"instructions": {str(i): value for i, value in enumerate(accuracy)}})


def test_the_verdict_is_in_words_and_corrected_for_the_number_of_tests(tmp_path):
    tasks = compare(evaluation(tmp_path / "a", [1.0] * 40), evaluation(tmp_path / "b", [0.0] * 8 + [1.0] * 32))
    base = np.linspace(2, 4, 27)
    card = Scorecard("lora", text_change(scores(base), scores(base)), tuple(tasks), None)
    assert tasks[0].p_value == pytest.approx(2 * 0.5**8)
    assert card.in_words() == [
        "General text: not told apart from before (+0.000 nats per token, 95% interval +0.000 to +0.000, p = 1.000).",
        "instructions: worse than before (-20.0 points, 95% interval -32.5 to -7.5, p = 0.016, 40 problems).",
    ]
    assert card.as_dict()["divergence"] is None


def test_the_shipped_texts_are_of_several_registers_and_none_is_there_twice():
    texts = general_texts()
    assert len({text.register for text in texts}) >= 8
    assert len({text.text for text in texts}) == len({text.id for text in texts}) == len(texts) >= 25
    assert all(100 <= len(text.text) <= 2000 for text in texts)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        ("{", "not a scorecard; name the scorecard.json of `mindgap-data forget`"),
        ({"after": 3}, "not a scorecard; name the scorecard.json of `mindgap-data forget`"),
        (
            {"after": [{"text": {"difference": 1}, "tasks": []}]},
            "not a scorecard; name the scorecard.json of `mindgap-data forget`",
        ),
    ],
)
def test_a_file_that_is_no_scorecard_gets_one_line(tmp_path, content, message):
    path = tmp_path / "scorecard.json"
    if content is not None:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UserError) as error:
        read_scorecards(path)
    assert error.value.message == f"{path}: {message}"
