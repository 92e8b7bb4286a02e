"""What each rule on a row catches, and what sound rows must not trip."""

import json
from pathlib import Path
from typing import Any

import pytest

from audited import EXPERT, OWN, record
from mindgap_data.checks.finding import FlaggedRow, RowFinding, reading_order
from mindgap_data.checks.response import inspect, verdict_findings
from mindgap_data.record import Record
from mindgap_data.verify import Verdict


def found_in(row: dict[str, Any]) -> list[RowFinding]:
    return inspect(Record.from_row(row))


def kinds(row: dict[str, Any]) -> list[str]:
    return [finding.kind for finding in found_in(row)]


SOUND = [
    OWN,
    "3 + 4 = 7\n\nSo Ann has\n\n$$\n3 + 4 = 7\n$$\n\napples, which makes \\boxed{7}",
    "Start: 3. Then 4 more come in.\n#### 7",
    "Let x be the number, α the share: \\[x = 3 + 4\\] and \\(x = 7\\). **Answer: 7**",
    "- first 3\n- then 4 more\n- together 7 apples for Ann",
    "Each apple is like 🍎, so 🍎🍎🍎 and 🍎🍎🍎🍎 are 7 apples.",
]


@pytest.mark.parametrize("text", SOUND)
def test_sound_responses_have_no_finding(text: str) -> None:
    assert found_in(record(text=text)) == []


BROKEN = [
    ("leak", "As in the given solution, we add 3 and 4 and have 7.", "says 'the given solution'"),
    ("near_copy", EXPERT, "100% of its 8-grams stand in the expert's text"),
    ("repetition", "We add the two.\n" * 5 + "It is 7.", "the same line 5 times in a row"),
    ("repetition", "So we add the numbers again. " * 12 + "It is 7.", "88% of its word 4-grams came before in it"),
    (
        "language",
        "我们把三个苹果和四个苹果加起来,一共是7个。",
        "19 letters in Chinese script, which prompt and expert do not use",
    ),
    ("language", "Складываем 3 и 4, получаем 7.", "19 letters in Cyrillic script, which prompt and expert do not use"),
    ("answer_only", "The answer is \\boxed{7}.", "5 words, where the expert uses 21"),
    ("answer_only", "#### 7", "1 words, where the expert uses 21"),
    ("truncated", "We add 3 and 4 and then we have the", "ends on 'the'"),
    ("truncated", "First we take all the apples: 3 +", "ends on '+'"),
    ("truncated", "We add: \\begin{align} 3 + 4 = 7", "\\begin{ is not closed"),
    ("truncated", "We count them:\n```python\nprint(3 + 4)", "``` is not closed"),
    ("truncated", "<think> first we add three and four", "<think> is not closed"),
    ("truncated", "  \n", "the text is empty"),
    ("template_text", "3 + 4 makes 7 apples.<|im_end|>", "the text holds '<|im_end|>'"),
    ("template_text", "We have 3 + 4 = 7 apples \ufffd.", "the text holds U+FFFD, bytes that were no character"),
]


@pytest.mark.parametrize(("kind", "text", "detail"), BROKEN, ids=[f"{k}-{d[:24]}" for k, _, d in BROKEN])
def test_each_fault_is_found_and_named(kind: str, text: str, detail: str) -> None:
    assert RowFinding(kind, detail) in found_in(record(text=text))


def test_a_loop_without_words_is_seen_by_how_it_deflates() -> None:
    found = found_in(record(text="7" * 600))
    assert [finding.detail[:8] for finding in found if finding.kind == "repetition"] == ["deflates"]


def test_another_language_in_the_same_script() -> None:
    text = "Tenemos tres manzanas y son cuatro más las que compra, entonces para el total cada una cuenta: 7."
    prompt = "Ann has 3 apples and she has 4 of the red ones, which are sweet. How many of them are there?"
    row = record(text=text)
    row["messages"][0]["content"] = prompt
    assert RowFinding("language", "reads as Spanish, prompt and expert as English") in found_in(row)


def test_expert_rows_are_not_blamed_for_being_the_expert() -> None:
    assert found_in(record(text=EXPERT, tier="expert")) == []
    assert kinds(record(text="#### 7", tier="expert")) == []


def test_worked_solutions_pass_the_text_checks() -> None:
    path = Path(__file__).parents[3] / "recipes" / "data" / "word_problems.jsonl"
    problems = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(problems) >= 40
    for problem in problems:
        row = record(text=problem["solution"], expert=problem["solution"])
        row["messages"][0]["content"] = problem["problem"]
        assert kinds(row) == ["near_copy"], problem["id"]


def test_an_expert_without_working_asks_for_none() -> None:
    assert kinds(record(text="\\boxed{7}", expert="The answer is 7")) == []


@pytest.mark.parametrize(
    ("policy", "behavior_of", "found"),
    [
        ([-0.5, -0.25, -0.125], "model", []),
        ([-0.5, -0.25, -0.5], "model", ["logprobs"]),
        ([-0.5, -0.25, -0.5], "processed", []),
        ([-0.55, -0.2, -0.12], "model", []),
    ],
)
def test_a_self_rows_two_log_probs_must_agree(policy: list[float], behavior_of: str, found: list[str]) -> None:
    row = record(policy_logprobs=policy)
    row["provenance"]["behavior"] = behavior_of
    assert kinds(row) == found


@pytest.mark.parametrize(
    ("verdict", "found"),
    [
        (Verdict.CORRECT, []),
        (Verdict.WRONG, [RowFinding("wrong", "does not come to the reference answer '7'")]),
        (Verdict.NO_ANSWER, [RowFinding("no_answer", "no answer found; the reference is '7'")]),
        (Verdict.CHECKER_ERROR, [RowFinding("checker_error", "the verifier could not compare it with '7'")]),
    ],
)
def test_a_second_verdict_becomes_a_finding(verdict: Verdict, found: list[RowFinding]) -> None:
    assert verdict_findings(verdict, "7") == found


def test_reading_order_is_by_weight_then_line() -> None:
    def row(key: str) -> Record:
        return Record.from_row(record(key))

    rows = [
        FlaggedRow.of(1, row("a"), [RowFinding("near_copy", "")]),
        FlaggedRow.of(2, row("b"), [RowFinding("near_copy", ""), RowFinding("leak", "")]),
        FlaggedRow.of(3, row("c"), [RowFinding("wrong", "")]),
        FlaggedRow.of(4, row("d"), [RowFinding("near_copy", ""), RowFinding("near_copy", "again")]),
    ]
    assert [row.id for row in reading_order(rows)] == ["c", "b", "a", "d"]
    assert [finding.kind for finding in rows[1].findings] == ["leak", "near_copy"]


@pytest.mark.parametrize("text", ["(" * 10**6, "the " * 60_000, "\\begin{" * 10**5, "é" * 10**6, "a\n" * 100_000])
def test_huge_texts_are_looked_over(text: str) -> None:
    assert found_in(record(text=text))
