"""What the options accept, what they mean, and the full text of what they refuse."""

import itertools
from typing import get_args

import pytest
from pydantic import ValidationError

from mindgap_loss.options import LossOptions, Preset


def error(**given) -> str:
    with pytest.raises(ValidationError) as caught:
        LossOptions(**given)
    (only,) = caught.value.errors()
    return f"{'.'.join(map(str, only['loc']))}: {only['msg']}".removeprefix(": ")


def test_defaults_are_the_first_value_of_each_row_of_the_design():
    assert LossOptions().model_dump() == {
        "preset": "is",
        "level": "token",
        "clip": "truncate",
        "clip_max": 2.0,
        "expert_behavior": "dft",
        "normalize": "none",
        "tier_weights": {"self": 1.0, "guided": 1.0, "expert": 1.0},
        "kl_coef": 0.0,
        "kl": "reverse",
        "pass_rate": False,
        "kernel": "auto",
        "chunk_tokens": None,
    }


@pytest.mark.parametrize(
    ("given", "sources"),
    [
        ({}, ("recorded", "recorded", "dft")),
        ({"expert_behavior": "unit"}, ("recorded", "recorded", "unit")),
        ({"expert_behavior": "reference"}, ("recorded", "recorded", "reference")),
        ({"expert_behavior": "logged"}, ("recorded", "recorded", "recorded")),
        ({"preset": "paper"}, ("dft", "dft", "dft")),
        ({"preset": "sft"}, ("unit", "unit", "unit")),
        ({"preset": "iw-sft"}, ("reference", "reference", "reference")),
        ({"preset": "asft"}, ("dft", "dft", "dft")),
        ({"preset": "eaft"}, ("entropy", "entropy", "entropy")),
    ],
)
def test_where_weights_come_from(given, sources):
    options = LossOptions(**given)
    assert tuple(options.source(tier) for tier in ("self", "guided", "expert")) == sources


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"preset": "sft", "level": "sequence"},
            "Value error, preset: sft and level: sequence contradict each other (preset sft means level: token); "
            "drop one of them, or use preset: is",
        ),
        (
            {"preset": "sft", "clip": "truncate"},
            "Value error, preset: sft and clip: truncate contradict each other (preset sft means clip: none); "
            "drop one of them, or use preset: is",
        ),
        (
            {"preset": "paper", "expert_behavior": "unit"},
            "Value error, preset: paper and expert_behavior: unit contradict each other (preset paper means "
            "expert_behavior: dft); drop one of them, or use preset: is",
        ),
        (
            {"preset": "eaft", "kernel": "cce"},
            "Value error, kernel: cce and preset: eaft contradict each other: the preset needs the entropy of the "
            "next token, and cce gives log-probs only; use kernel: torch",
        ),
        (
            {"clip": "none", "clip_max": 3},
            "Value error, clip: none and clip_max: 3 contradict each other; drop one of them",
        ),
        (
            {"preset": "paper", "clip_max": 3},
            "Value error, preset: paper (which means clip: none) and clip_max: 3 contradict each other; "
            "drop one of them",
        ),
        ({"clip_max": 0.5}, "clip_max: Input should be greater than or equal to 1"),
        ({"clip_max": float("inf")}, "clip_max: Value error, inf is not a finite number"),
        ({"kl_coef": -1}, "kl_coef: Input should be greater than or equal to 0"),
        ({"kl_coef": float("inf")}, "kl_coef: Value error, inf is not a finite number"),
        ({"chunk_tokens": 0}, "chunk_tokens: Input should be greater than or equal to 1"),
        ({"level": "word"}, "level: Input should be 'token', 'sequence' or 'geometric'"),
        ({"preset": "ppo"}, "preset: Input should be 'is', 'paper', 'sft', 'iw-sft', 'asft' or 'eaft'"),
        ({"clip_maximum": 2}, "clip_maximum: Extra inputs are not permitted"),
        (
            {"tier_weights": {"self": -1}},
            "tier_weights: Value error, weight -1.0 of tier self is not a finite number of 0 or more",
        ),
        (
            {"tier_weights": {"self": 0, "guided": 0, "expert": 0}},
            "tier_weights: Value error, every tier has weight 0: nothing would be trained",
        ),
        ({"tier_weights": {"teacher": 1}}, "tier_weights.teacher.[key]: Input should be 'self', 'guided' or 'expert'"),
    ],
)
def test_what_is_refused(given, message):
    assert error(**given) == message


def test_nan_is_refused():
    assert error(clip_max=float("nan")) == "clip_max: Input should be greater than or equal to 1"
    assert error(tier_weights={"expert": float("nan")}) == (
        "tier_weights: Value error, weight nan of tier expert is not a finite number of 0 or more"
    )


def test_a_tier_not_named_keeps_weight_one():
    assert LossOptions(tier_weights={"expert": 0.3}).tier_weights == {"self": 1.0, "guided": 1.0, "expert": 0.3}


def test_null_means_not_given():
    assert LossOptions(preset="sft", level=None, clip_max=None) == LossOptions(preset="sft")


@pytest.mark.parametrize(
    "given",
    [
        *({"preset": p, "normalize": n} for p, n in itertools.product(get_args(Preset), ("none", "batch"))),
        {"level": "geometric", "expert_behavior": "reference", "clip_max": 16},
        {"clip": "none"},
    ],
)
def test_options_can_be_dumped_and_read_back(given):
    """A trainer's configuration does that, and would meet its own defaults as if given."""
    options = LossOptions(**given)
    assert LossOptions(**options.model_dump()) == options
    assert LossOptions.model_validate_json(options.model_dump_json()) == options


def test_every_field_is_documented():
    schema = LossOptions.model_json_schema()
    assert all(field["description"] for field in schema["properties"].values())


def test_presets_give_defaults_that_may_be_changed():
    assert LossOptions(preset="iw-sft").clip_max == 16
    assert LossOptions(preset="iw-sft", clip_max=4).clip_max == 4
    assert (LossOptions(preset="asft").kl_coef, LossOptions(preset="asft").kl) == (0.1, "forward")
    assert LossOptions(preset="asft", kl_coef=0.05).kl_coef == 0.05


def test_chunks_are_larger_for_a_trained_head_unless_said_otherwise():
    assert [LossOptions().chunk_size(trained) for trained in (False, True)] == [256, 1024]
    assert [LossOptions(chunk_tokens=7).chunk_size(trained) for trained in (False, True)] == [7, 7]
