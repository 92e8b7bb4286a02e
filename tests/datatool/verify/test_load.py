"""From names to verifiers; and the worked example of a verifier of one's own."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mindgap_data.errors import UserError
from mindgap_data.verify import Verdict
from mindgap_data.verify.load import load_verifier, verifier_kind
from mindgap_data.verify.pool import VerifierPool

# The example of the documentation, word for word.
EXAMPLE = '''\
"""palindromes.py: is the response a palindrome of the length the answer asks for?"""

from mindgap_data.verify import Verdict


def palindrome(response, answer, row):
    letters = [letter for letter in response.lower() if letter.isalpha()]
    if not letters:
        return Verdict.NO_ANSWER
    right = letters == letters[::-1] and len(letters) >= int(answer)
    return Verdict.CORRECT if right else Verdict.WRONG
'''


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "palindromes.py").write_text(EXAMPLE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    return "palindromes:palindrome"


def test_the_worked_example(example: str) -> None:
    with VerifierPool(example, workers=1) as pool:
        verdicts = [pool.submit(text, "5", {}).result(30) for text in ("Never odd or even", "abc", "12", "aba")]
        crash = pool.submit("aba", "five", {}).result(30)
    assert verdicts == [Verdict.CORRECT, Verdict.WRONG, Verdict.NO_ANSWER, Verdict.WRONG]
    assert crash is Verdict.CHECKER_ERROR


def test_an_installed_name(tmp_path: Path, example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    info = tmp_path / "palindromes-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: palindromes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[mindgap.verifiers]\npalindrome = {example}\n")
    assert load_verifier("palindrome")("abba", "4", {}) is Verdict.CORRECT


class Judged:
    """A verifier with an option, whose verdicts are opinions."""

    kind = "judged"

    def __init__(self, limit: int = 3) -> None:
        self.limit = limit

    def __call__(self, response: str, answer: str, row: Mapping[str, Any]) -> Verdict:
        return Verdict.CORRECT if len(response) <= self.limit else Verdict.WRONG


def test_a_class_takes_options_and_says_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    module = types.ModuleType("opinions")
    module.Judged = Judged  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "opinions", module)
    verifier = load_verifier("opinions:Judged", {"limit": 5})
    assert verifier("12345", "", {}) is Verdict.CORRECT
    assert verifier_kind(verifier) == "judged"
    assert verifier_kind(load_verifier("math")) == "checked"


NAMES = "math, numeric, exact, choice, regex, json, tool_call, code, instructions, judge, none"


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("maths", {}, f"verifier 'maths': no such verifier; use one of {NAMES}, or module:function"),
        (
            "no_such_module:f",
            {},
            "verifier 'no_such_module:f': cannot import 'no_such_module': No module named 'no_such_module'",
        ),
        ("math:nothing", {}, "verifier 'math:nothing': module 'math' has no 'nothing'"),
        ("math:pi", {}, "verifier 'math:pi': 3.141592653589793 is not a function (response, answer, row) -> Verdict"),
        ("math:sqrt", {"a": 1}, "verifier 'math:sqrt': a function takes no options, got a"),
        ("math", {"b": 1}, "verifier 'math': got an unexpected keyword argument 'b'; its options: closing_answers"),
        ("math", {"closing_answers": 0}, "verifier 'math': option closing_answers must be yes or no, got 0"),
        ("exact", {"ignore_case": "a"}, "verifier 'exact': option ignore_case must be yes or no, got 'a'"),
        ("regex", {"pattern": 5}, "verifier 'regex': option pattern must be text, got 5; put it in double quotes"),
        ("numeric", {"rel_tol": -1}, "verifier 'numeric': option rel_tol must be a number of 0 or more, got -1"),
        ("code", {"language": "cobol"}, "verifier 'code': language 'cobol' is not one of python, javascript, bash"),
        ("code", {"seconds": 0}, "verifier 'code': option seconds must be above 0, got 0"),
        (
            "code",
            {"isolation": "jail"},
            "verifier 'code': isolation 'jail' is not one of auto, bubblewrap, namespaces, limits",
        ),
    ],
)
def test_what_cannot_be_loaded(spec: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        load_verifier(spec, options)
    assert error.value.message == message
