"""The noise floor against the closed form for log-normal weights, and the file it is kept in."""

import json

import numpy as np
import pytest

from mindgap_data.checks.noise import noise_findings
from mindgap_data.checks.thresholds import AlarmThresholds
from mindgap_data.errors import UserError
from mindgap_data.gap.noise import NoiseFloor, noise_file, noise_floor, read_noise


def test_gaussian_noise_has_the_ess_of_its_closed_form():
    rng = np.random.default_rng(0)
    sd, length, rows = 0.05, 500, 4000
    stored = [rng.normal(-1.0, 1.0, size=length) for _ in range(rows)]
    trained = [row + rng.normal(0.0, sd, size=length) for row in stored]
    floor = noise_floor(trained, stored)
    assert (floor.rows, floor.tokens) == (rows, rows * length)
    assert floor.mean == pytest.approx(0.0, abs=1e-3)
    assert floor.sd == pytest.approx(sd, rel=0.01)
    # P(|l| beyond log 0.9 or log 1.1) for N(0, 0.05^2).
    assert floor.outside == pytest.approx(0.0175 + 0.0283, abs=0.002)
    assert floor.ess["token"] == pytest.approx(np.exp(-(sd**2)), rel=1e-3)
    assert floor.ess["sequence"] == pytest.approx(np.exp(-length * sd**2), rel=0.12)
    assert floor.ess["geometric"] == pytest.approx(np.exp(-(sd**2) / length), rel=1e-4)


def test_figures_of_one_response_by_hand():
    floor = noise_floor([[-1.0, -2.0]], [[-1.5, -1.9]])
    assert (floor.mean, floor.largest) == pytest.approx((0.2, 0.5))
    assert floor.sd == pytest.approx(0.3)
    assert floor.outside == 0.5
    assert floor.ess["sequence"] == floor.ess["geometric"] == 1.0


def test_the_same_log_probs_have_no_noise():
    floor = noise_floor([[-1.0, -2.0], [-3.0]], [[-1.0, -2.0], [-3.0]])
    assert (floor.sd, floor.outside, floor.largest) == (0.0, 0.0, 0.0)
    assert floor.ess == {"token": 1.0, "sequence": 1.0, "geometric": 1.0}


@pytest.mark.parametrize(
    ("trained", "stored", "message"),
    [
        ([], [], "there is no response to compare"),
        ([[-1.0]], [[-1.0, -2.0]], "log-probs of one response must be of one length above 0, got (1,), (2,)"),
        ([[]], [[]], "log-probs of one response must be of one length above 0, got (0,), (0,)"),
    ],
)
def test_what_cannot_be_compared_is_refused(trained, stored, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        noise_floor(trained, stored)
    assert str(error.value) == message


FLOOR = NoiseFloor(64, 32_000, 0.0, 0.05, 0.05, 0.4, {"token": 0.997, "sequence": 0.2, "geometric": 0.99})


def test_a_level_below_its_noise_floor_is_named():
    (finding,) = noise_findings(FLOOR, "sequence", AlarmThresholds())
    assert finding.in_words == (
        "Weights at level sequence are below their noise floor: rounding alone (sd 0.05 nats per token, 500 tokens "
        "per response) leaves ESS/N 0.2, below 0.3. Use level: token or geometric, draw and train in float32, or "
        "score the file again by the trainer's forward with `mindgap-data score --engine transformers`."
    )
    assert list(noise_findings(FLOOR, "token", AlarmThresholds())) == []


def test_a_floor_comes_back_from_its_file(tmp_path):
    path = noise_file(tmp_path / "train.jsonl")
    assert path == tmp_path / "train.jsonl.noise.json"
    path.write_text(json.dumps({"version": 1, "floor": FLOOR.as_dict()}))
    assert read_noise(path) == FLOOR


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        ("{", "not a noise file; write it again with `mindgap-data noise`"),
        ("[]", "not a noise file; write it again with `mindgap-data noise`"),
        ('{"version": 1, "floor": {"rows": 1}}', "not a noise file; write it again with `mindgap-data noise`"),
        ('{"version": 2}', "version 2; this mindgap reads version 1"),
    ],
)
def test_a_file_that_is_no_floor_gets_one_line(tmp_path, content, message):
    path = tmp_path / "a.noise.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError) as error:
        read_noise(path)
    assert error.value.message == f"{path}: {message}"
