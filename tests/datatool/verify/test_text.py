"""Exact match and regular expressions."""

import pytest

from mindgap_data.errors import UserError
from mindgap_data.verify import Verdict
from mindgap_data.verify.pool import VerifierPool
from mindgap_data.verify.text import ExactVerifier, RegexVerifier

CORRECT, WRONG, NO_ANSWER, ERROR = Verdict.CORRECT, Verdict.WRONG, Verdict.NO_ANSWER, Verdict.CHECKER_ERROR


@pytest.mark.parametrize(
    ("response", "answer", "verdict"),
    [
        ("red", "red", CORRECT),
        ("  red \n", "red", CORRECT),
        ("dark\n red", "dark red", CORRECT),
        (r"I say \boxed{red}.", "red", CORRECT),
        ("The answer is red.", "red", CORRECT),
        ("Red", "red", WRONG),
        ("5.0", "5", WRONG),
        ("<think>red</think>blue", "blue", CORRECT),
        ("<think>red", "red", NO_ANSWER),
        (" ", "red", NO_ANSWER),
    ],
)
def test_exact(response: str, answer: str, verdict: Verdict) -> None:
    assert ExactVerifier()(response, answer, {}) is verdict


def test_exact_may_ignore_case() -> None:
    assert ExactVerifier(ignore_case=True)("STRASSE", "straße", {}) is CORRECT


@pytest.mark.parametrize(
    ("response", "answer", "row", "verdict"),
    [
        ("code AB-12 given", r"[A-Z]{2}-\d\d", {}, CORRECT),  # the reference is the pattern
        ("code AB-1", r"[A-Z]{2}-\d\d", {}, WRONG),
        ("xyz", "", {"pattern": "^x.z$"}, CORRECT),
        ("xyz", "", {"pattern": "("}, ERROR),
        ("xyz", "", {"pattern": 5}, ERROR),
        ("xyz", "", {"pattern": "x" * 3000}, ERROR),
        ("<think>xyz</think>abc", "xyz", {}, WRONG),
        ("", "xyz", {}, NO_ANSWER),
    ],
)
def test_regex(response: str, answer: str, row: dict[str, object], verdict: Verdict) -> None:
    assert RegexVerifier()(response, answer, row) is verdict


def test_regex_pattern_option() -> None:
    assert RegexVerifier(pattern="^b")("abc", "abc", {}) is WRONG
    with pytest.raises(UserError) as error:
        RegexVerifier(pattern="(")
    assert error.value.message == (
        "verifier 'regex': option pattern: missing ), unterminated subpattern at position 0; see Python's re module"
    )


def test_a_pattern_that_never_comes_back_is_ended_by_the_pool() -> None:
    with VerifierPool("regex", {"pattern": r"^(a+)+$"}, timeout=1.0, workers=1) as pool:
        assert pool.submit("a" * 60 + "!", "", {}).result(30) is ERROR
        assert pool.submit("aaa", "", {}).result(30) is CORRECT
