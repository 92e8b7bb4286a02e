"""The examples in docs/verifiers.md are judged as it says."""

import re
from pathlib import Path

import pytest

from mindgap_data.verify import Verdict
from mindgap_data.verify.math import MathVerifier

PAGE = (Path(__file__).parents[4] / "docs" / "verifiers.md").read_text()
CORRECT, NOT = (
    re.findall(r"^\| `(.+?)` \| `(.+?)` \|$", table, re.MULTILINE)
    for table in re.findall(r"\| response \| reference \|\n(.*?)\n\n", PAGE, re.DOTALL)
)


@pytest.mark.parametrize(("response", "reference"), CORRECT)
def test_correct(response: str, reference: str) -> None:
    assert MathVerifier()(response, reference, {}) is Verdict.CORRECT


@pytest.mark.parametrize(("response", "reference"), NOT)
def test_not_correct(response: str, reference: str) -> None:
    assert MathVerifier()(response, reference, {}) is not Verdict.CORRECT


def test_there_are_examples() -> None:
    assert len(CORRECT) > 20
    assert len(NOT) > 8
