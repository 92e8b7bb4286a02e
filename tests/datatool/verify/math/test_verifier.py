"""The mathematics verifier: error rates on the labelled pairs, properties, and what it costs nothing to check."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindgap_data.verify import Verdict
from mindgap_data.verify.answers import find_answer
from mindgap_data.verify.math import MathVerifier

DATA = Path(__file__).parents[3] / "data"
VERIFY = MathVerifier()


def labelled() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / "math_pairs.jsonl").read_text().splitlines()]


def test_error_rates_on_the_labelled_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = labelled()
    wrong_kept, right_lost = [], []
    for pair in pairs:
        verdict = VERIFY(pair["response"], pair["answer"], pair)
        if (verdict is Verdict.CORRECT) and not pair["correct"]:
            wrong_kept.append(pair)
        if (verdict is not Verdict.CORRECT) and pair["correct"]:
            right_lost.append(pair)
    right = sum(pair["correct"] for pair in pairs)
    with capsys.disabled():
        print(
            f"\nmath_pairs.jsonl: {len(wrong_kept)}/{len(pairs) - right} false positives "
            f"({len(wrong_kept) / (len(pairs) - right):.2%}), {len(right_lost)}/{right} false negatives "
            f"({len(right_lost) / right:.2%})"
        )
    assert len(wrong_kept) <= 0.005 * (len(pairs) - right), wrong_kept
    assert len(right_lost) <= 0.03 * right, right_lost


def test_labelled_pairs_are_many_and_each_has_a_reason() -> None:
    pairs = labelled()
    assert len(pairs) >= 500
    assert all(pair["reason"] for pair in pairs)
    keys = Counter((p["answer"], p["response"], str(p.get("choices")), p.get("problem")) for p in pairs)
    assert max(keys.values()) == 1


def test_reference_answers_of_math_match_only_themselves() -> None:
    answers = sorted({pair["answer"] for pair in labelled() if pair["reason"].startswith("MATH-500")})
    kept = [
        (gold, other)
        for gold in answers
        for other in answers
        if VERIFY(rf"\boxed{{{other}}}", gold, {}) is Verdict.CORRECT and gold != other
    ]
    assert [pair for pair in kept if "120" not in pair[0]] == []  # 120 and 120^\circ are one


@pytest.mark.parametrize(
    ("response", "answer", "verdict"),
    [
        (r"\boxed{5}", "5", Verdict.CORRECT),
        (r"\boxed{6}", "5", Verdict.WRONG),
        ("I do not know.", "5", Verdict.NO_ANSWER),
        (r"\boxed{9^{9^{9^{9}}}}", "5", Verdict.CHECKER_ERROR),
        (r"\boxed{5}", "", Verdict.CHECKER_ERROR),
        (r"\boxed{5}", "worked\n#### 5", Verdict.CORRECT),
        (r"\boxed{5}", r"worked, so \boxed{5}", Verdict.CORRECT),
        ("\\boxed{\u202e5}", "5", Verdict.WRONG),
        ("\\boxed{5\u200b}", "5", Verdict.CORRECT),
    ],
)
def test_verdicts(response: str, answer: str, verdict: Verdict) -> None:
    assert VERIFY(response, answer, {}) is verdict


def test_closing_answers_can_be_turned_off() -> None:
    assert VERIFY("So she has 12 apples.", "12", {}) is Verdict.CORRECT
    assert MathVerifier(closing_answers=False)("So she has 12 apples.", "12", {}) is Verdict.NO_ANSWER


def test_quick_agrees_with_the_full_check_or_says_nothing() -> None:
    for pair in labelled():
        quick = VERIFY.quick(pair["response"], pair["answer"], pair)
        assert quick is None or quick is VERIFY(pair["response"], pair["answer"], pair)


# --- properties ----------------------------------------------------------------------------------

WORDS = (
    "we now add both sides and see that the sum of all apples grows while Tom walks home with his red bag "
    "Let us think Then by symmetry Next consider each case separately"
)
PROSE = st.lists(st.sampled_from(WORDS.split()), min_size=1, max_size=30).map(lambda words: " ".join(words) + ".")
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9)
INTEGERS = st.integers(-(10**30), 10**30)


@given(before=PROSE, after=PROSE, number=INTEGERS, other=INTEGERS)
def test_prose_without_an_answer_changes_no_verdict(before: str, after: str, number: int, other: int) -> None:
    assert find_answer(before) is None
    bare = VERIFY(rf"\boxed{{{other}}}", str(number), {})
    assert VERIFY(rf"{before} \boxed{{{other}}} {after}", str(number), {}) is bare
    assert VERIFY(f"{before}\n#### {other}", str(number), {}) is bare
    assert VERIFY(f"{before}\nThe answer is {other}.", str(number), {}) is bare


@given(left=INTEGERS | DECIMALS, right=INTEGERS | DECIMALS)
def test_different_numbers_never_match(left: Any, right: Any) -> None:
    verdict = VERIFY(rf"\boxed{{{right:f}}}", f"{left:f}", {})
    assert verdict is (Verdict.CORRECT if left == right else Verdict.WRONG)


@given(number=st.integers(0, 10**12))
def test_thousands_separators_are_no_difference(number: int) -> None:
    assert VERIFY(f"The answer is {number:,}.", str(number), {}) is Verdict.CORRECT
    assert VERIFY(rf"\boxed{{{number}}}", f"{number:,}", {}) is Verdict.CORRECT


ATOMS = st.integers(1, 99).map(str) | st.sampled_from(["x", "y", "n", r"\pi", r"\sqrt{2}", r"\frac{1}{3}", "2.5"])
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda p: f"({p[0]}+{p[1]})"),
        st.tuples(inner, inner).map(lambda p: rf"\frac{{{p[0]}}}{{{p[1]}}}"),
        inner.map(lambda a: rf"\sqrt{{{a}}}"),
        inner.map(lambda a: f"({a})^{{2}}"),
        st.tuples(inner, inner).map(lambda p: f"({p[0]}, {p[1]})"),
        st.tuples(inner, inner).map(lambda p: rf"\{{{p[0]}, {p[1]}\}}"),
        st.tuples(inner, inner).map(lambda p: rf"\begin{{pmatrix}} {p[0]} \\ {p[1]} \end{{pmatrix}}"),
    ),
    max_leaves=6,
)


@given(EXPRESSIONS)
def test_the_reference_matches_itself(answer: str) -> None:
    assert VERIFY(rf"\boxed{{{answer}}}", answer, {}) is Verdict.CORRECT
    assert VERIFY(rf"\boxed{{ {answer.replace('+', ' + ')} }}", answer, {}) is Verdict.CORRECT


@given(EXPRESSIONS)
@settings(max_examples=50)
def test_one_more_is_never_the_same(answer: str) -> None:
    if "," not in answer and "begin" not in answer:
        assert VERIFY(rf"\boxed{{{answer}+1}}", answer, {}) is not Verdict.CORRECT


@given(st.text(max_size=200), st.text(max_size=50))
def test_any_text_gets_a_verdict(response: str, answer: str) -> None:
    assert VERIFY(response, answer, {}) in Verdict
    assert VERIFY(rf"\boxed{{{response}}}", answer, {}) in Verdict
