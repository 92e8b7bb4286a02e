"""What a row lacks is said before training, with a remedy that works."""

import pytest

from mindgap_data.errors import UserError
from mindgap_loss.options import LossOptions
from mindgap_loss.rows import missing_log_probs, pass_rate

ROW = [-1.0, -2.0]


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        (("self", ROW, ROW), {}, None),
        (("expert", None, ROW), {}, None),
        (("expert", None, None), {}, None),
        (("expert", None, ROW), {"expert_behavior": "reference"}, None),
        (("expert", ROW, None), {"expert_behavior": "logged"}, None),
        (("guided", None, None), {"preset": "paper"}, None),
        (("self", None, None), {"preset": "sft"}, None),
        (
            ("guided", None, ROW),
            {},
            "behavior_logprobs is null in a guided row, and preset: is needs them; use preset: paper or sft",
        ),
        (
            ("expert", None, ROW),
            {"expert_behavior": "logged"},
            "behavior_logprobs is null in an expert row, and expert_behavior: logged needs them; "
            "use expert_behavior: dft, unit or reference",
        ),
        (
            ("expert", ROW, None),
            {"expert_behavior": "reference"},
            "policy_logprobs is missing in an expert row, and expert_behavior: reference needs them; "
            "use expert_behavior: dft or unit",
        ),
        (
            ("expert", None, None),
            {"preset": "iw-sft"},
            "policy_logprobs is missing, and preset: iw-sft needs them in every row; use preset: is, paper or sft",
        ),
        (
            ("self", ROW, None),
            {"preset": "sft", "kl_coef": 0.1},
            "policy_logprobs is missing, and kl_coef: 0.1 needs them in every row; set kl_coef: 0",
        ),
        (
            ("expert", None, None),
            {"kl_coef": 0.1},
            "policy_logprobs is missing, and kl_coef: 0.1 needs them in every row; set kl_coef: 0",
        ),
    ],
)
def test_a_row_that_lacks_what_the_options_need_is_named_before_training(row, options, message):
    assert missing_log_probs(*row, LossOptions(**options)) == message


def row(tier, attempts, **fields):
    return {"tier": tier, "attempts": attempts, "provenance": {"verifier_kind": "checked"}, **fields}


@pytest.mark.parametrize(
    ("tier", "options", "rate"),
    [("self", {}, 1.0), ("self", {"pass_rate": True}, 0.25), ("expert", {"pass_rate": True}, 1.0)],
)
def test_pass_rate_of_a_row(tier, options, rate):
    assert pass_rate(row(tier, {"self": {"sampled": 4, "correct": 1}}), LossOptions(**options), "here") == rate


def test_the_pass_rate_of_a_guided_row_is_that_of_its_own_hint():
    drawn = {"guided_answer": {"sampled": 4, "correct": 0}, "guided_partial": {"sampled": 4, "correct": 2}}
    assert pass_rate(row("guided", drawn, hint="partial"), LossOptions(pass_rate=True), "here") == 0.5


@pytest.mark.parametrize(
    ("unusable", "message"),
    [
        (
            row("guided", {}),
            "a.jsonl: row 3: attempts.guided counts no correct draw, and pass_rate: true needs the share of correct "
            "ones; set mindgap.pass_rate: false",
        ),
        (
            row("self", {"self": {"sampled": 4, "correct": 4}}, provenance={"verifier_kind": "unchecked"}),
            "a.jsonl: row 3: the row is unchecked (--verifier none), so it has no pass rate; "
            "set mindgap.pass_rate: false",
        ),
    ],
)
def test_a_row_without_a_pass_rate_is_named(unusable, message):
    with pytest.raises(UserError) as error:
        pass_rate(unusable, LossOptions(pass_rate=True), "a.jsonl: row 3")
    assert error.value.message == message
