"""Instructions a program can check, each with a response that keeps to it and one that doesn't."""

import json
from pathlib import Path

import pytest

from mindgap_data.evaluation.texts import instructions_path
from mindgap_data.verify import Verdict
from mindgap_data.verify.instructions import CHECKS, InstructionsVerifier

VERIFY = InstructionsVerifier()

CASES = [
    ({"words_at_least": 3}, "It's a well-known fact.", "Two words."),
    ({"words_at_most": 3}, "Only three words.", "These are four words."),
    ({"sentences": 2}, 'He said "no." She left!', "One. Two. Three."),
    ({"paragraphs": 2}, "First.\n\nSecond,\nstill second.", "Only one.\nStill one."),
    ({"lines": 2}, "one\n\ntwo\n", "one\ntwo\nthree"),
    ({"bullets": 2}, "- a\n* b", "- a\nb"),
    ({"numbered": 2}, "1. a\n2) b", "1. a\n- b"),
    ({"contains": ["bread", "river"]}, "Bread by the river.", "Breadth of rivers."),
    ({"avoids": ["snow"]}, "Snowflakes fall.", "It is Snow."),
    ({"starts_with": "Dear Anna"}, " dear Anna, thanks", "Anna, thanks"),
    ({"ends_with": "The end"}, "So it was. The end\n", "The end of it."),
    ({"one_of": ["Paris"]}, "**paris**.", "It is Paris."),
    ({"lowercase": True}, "all low, 3 times", "All low"),
    ({"uppercase": True}, "I LIKE TEA!", "I like TEA"),
    ({"no_commas": True}, "a b c", "a, b"),
    ({"quoted": True}, ' "Felix" ', '"'),
    ({"json_keys": ["name"]}, '```json\n{"name": 1, "x": 2}\n```', '["name"]'),
    ({"words_at_least": 2, "no_commas": True}, "two words", "two, words"),
]


def test_every_check_has_a_case():
    assert {name for checks, _, _ in CASES for name in checks} == set(CHECKS)


@pytest.mark.parametrize(("checks", "good", "bad"), CASES, ids=[", ".join(checks) for checks, _, _ in CASES])
def test_a_check_tells_good_from_bad(checks, good, bad):
    assert VERIFY(good, "", {"checks": checks}) is Verdict.CORRECT
    assert VERIFY(bad, "", {"checks": checks}) is Verdict.WRONG


@pytest.mark.parametrize(
    ("response", "row", "verdict"),
    [
        ("", {"checks": {"lines": 1}}, Verdict.NO_ANSWER),
        ("<think>never ends", {"checks": {"lines": 1}}, Verdict.NO_ANSWER),
        ("<think>a\nb\nc</think>one line", {"checks": {"lines": 1}}, Verdict.CORRECT),
        ("text", {}, Verdict.CHECKER_ERROR),
        ("text", {"checks": {"rhymes": True}}, Verdict.CHECKER_ERROR),
        ("text", {"checks": []}, Verdict.CHECKER_ERROR),
        ("x" * 200_001, {"checks": {"lines": 1}}, Verdict.CHECKER_ERROR),
        ("[" * 100_000, {"checks": {"json_keys": ["a"]}}, Verdict.WRONG),
    ],
)
def test_no_answer_and_faulty_rows(response, row, verdict):
    assert VERIFY(response, "", row) is verdict


def test_the_shipped_instructions_use_checks_that_exist():
    rows = [json.loads(line) for line in Path(instructions_path()).read_text().splitlines()]
    assert len(rows) == len({row["prompt"] for row in rows}) == 40
    assert all(set(row["checks"]) <= set(CHECKS) and row["verifier"] == "instructions" for row in rows)
