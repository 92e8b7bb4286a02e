"""Curves from a trainer_state.json, and one line for a file that is none."""

import json
import math

import pytest

from mindgap_data.errors import UserError
from mindgap_data.report.training import MAX_POINTS, Curve, curves_json, read_training_run

HISTORY = [
    {"step": 1, "loss": 2.0, "grad_norm": 1.0, "mindgap/all/nll": 1.5, "mindgap/self/ess": 1.0},
    {"step": 2, "loss": float("nan"), "mindgap/all/nll": 1.4, "mindgap/self/ess": 0.9, "mindgap/other/x": 3},
    {"step": 2, "eval_loss": 1.9, "eval_mindgap/guided/nll": 1.8, "eval_mindgap/guided/k1": 0.1},
    {"step": "x", "loss": 1.0},
    "no entry",
]


def write(tmp_path, value):
    path = tmp_path / "trainer_state.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_curves_by_metric_and_group(tmp_path):
    curves = read_training_run(write(tmp_path, {"log_history": HISTORY})).curves
    assert curves["nll"] == {"all": Curve((1, 2), (1.5, 1.4))}
    assert curves["ess"] == {"self": Curve((1, 2), (1.0, 0.9))}
    assert curves["eval_loss"] == {"run": Curve((2,), (1.9,))}
    assert math.isnan(curves["loss"]["run"].values[1])
    assert curves["eval_nll"] == {"guided": Curve((2,), (1.8,))}
    assert set(curves) == {"loss", "grad_norm", "eval_loss", "eval_nll", "ess", "nll"}


def test_what_is_not_finite_is_null_for_the_page(tmp_path):
    page = curves_json(read_training_run(write(tmp_path, {"log_history": HISTORY})).curves)
    assert page["loss"] == {"run": [[1, 2], [2.0, None]]}


def test_long_curves_are_thinned():
    steps = tuple(range(10 * MAX_POINTS + 1))
    thinned = curves_json({"loss": {"run": Curve(steps, steps)}})["loss"]["run"]
    assert len(thinned[0]) == len(thinned[1]) <= MAX_POINTS
    assert thinned[0][0] == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        ("{", "not JSON; pass the trainer_state.json of a checkpoint"),
        ("[" * 100_000, "not JSON; pass the trainer_state.json of a checkpoint"),
        ([1], "no log_history in it; pass the trainer_state.json of a checkpoint"),
        ({"log_history": "x"}, "no log_history in it; pass the trainer_state.json of a checkpoint"),
        (
            {"log_history": [{"step": 1, "epoch": 1}]},
            "log_history has no loss; pass the trainer_state.json of a checkpoint that has logged",
        ),
    ],
)
def test_a_file_that_is_no_trainer_state_gets_one_line(tmp_path, content, message):
    path = tmp_path / "trainer_state.json" if content is None else write(tmp_path, content)
    with pytest.raises(UserError) as error:
        read_training_run(path)
    assert error.value.message == f"{path}: {message}"
