"""No check."""

import pytest

from mindgap_data.verify import Verdict
from mindgap_data.verify.load import load_verifier, verifier_kind
from mindgap_data.verify.pool import VerifierPool


@pytest.mark.parametrize(
    ("response", "verdict"),
    [
        ("Dear Ann,", Verdict.CORRECT),
        ("<think>hm</think>Dear Ann,", Verdict.CORRECT),
        ("<think>hm", Verdict.NO_ANSWER),
        (" \n", Verdict.NO_ANSWER),
    ],
)
def test_every_complete_response_is_accepted(response: str, verdict: Verdict) -> None:
    assert load_verifier("none")(response, "", {}) is verdict


def test_it_is_called_unchecked_and_asks_for_no_answer() -> None:
    assert verifier_kind(load_verifier("none")) == "unchecked"
    with VerifierPool("none") as pool:
        assert not pool.needs_answer
        assert pool.submit("Dear Ann,", "", {}).done()  # without a worker
