"""Where our own parser gives up, math-verify decides; where a text is wild, nobody does."""

import pytest

from mindgap_data.verify import Verdict
from mindgap_data.verify.math import MathVerifier
from mindgap_data.verify.math.symbolic import math_verify_agrees
from mindgap_data.verify.pool import VerifierPool

CASES = [
    (r"\int_0^1 x\,dx", r"\frac12", "a definite integral and its value"),
    (r"\sum_{k=1}^{n} k", r"\frac{n(n+1)}{2}", "a sum and its closed form"),
    (r"\int_0^x \cos t\,dt", r"\sin x", "an integral with a variable bound"),
    (r"\lim_{x\to 0} \frac{\sin x}{x}", "1", "a limit and its value"),
]
DIFFERENT = [
    (r"\sum_{k=1}^n k^2", r"\sum_{k=1}^n k", "another summand"),
    (r"\int_0^1 x\,dx", r"\frac13", "another value"),
    (r"\sum_{k=1}^{10} k", "54", "another total"),
]


@pytest.mark.parametrize(("gold", "other", "reason"), CASES, ids=[case[2] for case in CASES])
def test_equal(gold: str, other: str, reason: str) -> None:
    assert MathVerifier()(rf"so it is \boxed{{{other}}}", gold, {}) == Verdict.CORRECT, reason


@pytest.mark.parametrize(("gold", "other", "reason"), DIFFERENT, ids=[case[2] for case in DIFFERENT])
def test_different(gold: str, other: str, reason: str) -> None:
    assert MathVerifier()(rf"so it is \boxed{{{other}}}", gold, {}) == Verdict.WRONG, reason


@pytest.mark.parametrize(
    "wild",
    [
        r"\sum_{k=1}^{9} 9^{9^{9^{9}}}",
        r"\prod_{k=1}^{99} k!",
        r"\int_0^{99999999999} x\,dx",
        r"\sum " + "(" * 30 + "1" + ")" * 30,
        r"\sum_{i=1}^{5} i + " + "x+" * 200 + "1",
        r"\text{import os}\sum_{i=1}^{3} i",
    ],
)
def test_a_wild_text_never_reaches_sympy(wild: str) -> None:
    assert not math_verify_agrees(wild, wild)


def test_what_runs_without_end_costs_its_limit_only() -> None:
    with VerifierPool("math", timeout=5.0, workers=1) as pool:
        slow = pool.submit(r"\boxed{\sum_{k=1}^{999999} \sin(k^{k})}", r"\int_0^1 x^{x} \sin(x^{x})\,dx", {})
        fast = pool.submit(r"\boxed{\sqrt{8}}", r"2\sqrt{2}", {})
        assert slow.result() != Verdict.CORRECT
        assert fast.result() == Verdict.CORRECT
