"""Numbers with a tolerance."""

from typing import Any

import pytest

from mindgap_data.verify import Verdict
from mindgap_data.verify.numeric import NumericVerifier

CORRECT, WRONG, NO_ANSWER, ERROR = Verdict.CORRECT, Verdict.WRONG, Verdict.NO_ANSWER, Verdict.CHECKER_ERROR


@pytest.mark.parametrize(
    ("response", "answer", "row", "verdict"),
    [
        (r"\boxed{3.14}", "3.1416", {}, CORRECT),
        (r"\boxed{3.13}", "3.1416", {}, WRONG),
        (r"\boxed{\pi}", "3.1416", {}, CORRECT),
        (r"\boxed{x = \sqrt{2}}", "1.414", {}, CORRECT),
        (r"\boxed{100.05 \text{ cm}}", "1 m", {}, CORRECT),
        (r"\boxed{1 kg}", "1 m", {}, WRONG),
        (r"\boxed{50.01\%}", "0.5", {}, CORRECT),
        (r"\boxed{0}", "0", {}, CORRECT),
        (r"\boxed{0.0001}", "0", {}, WRONG),
        (r"\boxed{0.0001}", "0", {"abs_tol": 0.001}, CORRECT),
        (r"\boxed{110}", "100", {"rel_tol": 0.1}, CORRECT),
        (r"\boxed{110}", "100", {"rel_tol": "x"}, ERROR),
        (r"\boxed{-3.1416}", "3.1416", {}, WRONG),
        (r"\boxed{6.6e-34}", "6.626e-34", {"rel_tol": 0.01}, CORRECT),
        (r"\boxed{0}", "6.626e-34", {}, WRONG),
        (r"\boxed{9^{9^{9^9}}}", "5", {}, WRONG),
        (r"\boxed{many}", "5", {}, WRONG),
        ("So it is 5.001.", "5", {}, CORRECT),
        ("I do not know.", "5", {}, NO_ANSWER),
        (r"\boxed{4 + 1}", "5", {}, NO_ANSWER),
        (r"\boxed{5}", "many", {}, ERROR),
    ],
)
def test_numeric(response: str, answer: str, row: dict[str, Any], verdict: Verdict) -> None:
    assert NumericVerifier()(response, answer, row) is verdict
