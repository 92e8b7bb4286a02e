"""audit: what each finding catches, what sound rows must not trip, and the command around it."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mindgap_data.checks.audit import (
    KINDS,
    MEANINGS,
    Finding,
    compression_ratio,
    flagged,
    inspect,
    language,
    reading_order,
    repeated_ngrams,
    scripts,
    verdict_findings,
)
from mindgap_data.commands import main
from mindgap_data.verify import Verdict

PROBLEM = "Ann has 3 apples and buys 4 more. How many apples does she have?"
EXPERT = "Ann starts with 3 apples. She buys 4 more, so she has 3 + 4 = 7 apples. The answer is \\boxed{7}."
OWN = "We add what she has to what she buys: 3 + 4 = 7. So the answer is \\boxed{7}."


def record(key: str = "a", text: str = OWN, tier: str = "self", **fields: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": key,
        "messages": [{"role": "user", "content": PROBLEM}, {"role": "assistant", "content": text}],
        "tier": tier,
        "response_token_ids": [1, 2, 3],
        "behavior_logprobs": None if tier == "expert" else [-0.5, -0.25, -0.125],
        "policy_logprobs": [-0.5, -0.25, -0.125],
        "answer": "7",
        "expert": EXPERT,
        "attempts": {},
        "provenance": {
            "schema_version": 1,
            "tool_version": "0.1.0",
            "model": "m",
            "engine": "transformers",
            "tokenizer": "t",
            "chat_template": "c",
            "sampling": {},
            "behavior": None if tier == "expert" else "model",
            "selection": "first",
            "verifier": "math",
            "seed": 0,
        },
    }
    return row | fields


def kinds(row: dict[str, Any]) -> list[str]:
    return [finding.kind for finding in inspect(row)]


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
    assert inspect(record(text=text)) == []


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
    assert Finding(kind, detail) in inspect(record(text=text))


def test_a_loop_without_words_is_seen_by_how_it_deflates() -> None:
    found = inspect(record(text="7" * 600))
    assert [finding.detail[:8] for finding in found if finding.kind == "repetition"] == ["deflates"]


def test_another_language_in_the_same_script() -> None:
    text = "Tenemos tres manzanas y son cuatro más las que compra, entonces para el total cada una cuenta: 7."
    prompt = "Ann has 3 apples and she has 4 of the red ones, which are sweet. How many of them are there?"
    row = record(text=text)
    row["messages"][0]["content"] = prompt
    assert Finding("language", "reads as Spanish, prompt and expert as English") in inspect(row)


def test_expert_rows_are_not_blamed_for_being_the_expert() -> None:
    assert inspect(record(text=EXPERT, tier="expert")) == []
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


def test_repetition_figures_by_hand() -> None:
    # a b c d | b c d a | c d a b | d a b c | a b c d: five 4-grams, one of them twice.
    assert repeated_ngrams("a b c d a b c d") == pytest.approx(1 / 5)
    assert repeated_ngrams("one two three") == 0.0
    assert compression_ratio("") == 1.0
    assert compression_ratio("ab" * 5000) > 100 > 6 > compression_ratio(EXPERT)


def test_scripts_and_languages() -> None:
    assert scripts("abc αβγ 𝑥 где 漢字かな") == {"LATIN": 3, "CYRILLIC": 3, "CHINESE": 4}
    assert language("the cat and the dog have a house") == "English"
    assert language("der Hund und die Katze sind nicht da") == "German"
    assert language("3 + 4 = 7") is None


@pytest.mark.parametrize(
    ("verdict", "found"),
    [
        (Verdict.CORRECT, []),
        (Verdict.WRONG, [Finding("wrong", "does not come to the reference answer '7'")]),
        (Verdict.NO_ANSWER, [Finding("no_answer", "no answer found; the reference is '7'")]),
        (Verdict.CHECKER_ERROR, [Finding("checker_error", "the verifier could not compare it with '7'")]),
    ],
)
def test_a_second_verdict_becomes_a_finding(verdict: Verdict, found: list[Finding]) -> None:
    assert verdict_findings(verdict, "7") == found


def test_reading_order_is_by_weight_then_line() -> None:
    rows = [
        flagged(1, record("a"), [Finding("near_copy", "")]),
        flagged(2, record("b"), [Finding("near_copy", ""), Finding("leak", "")]),
        flagged(3, record("c"), [Finding("wrong", "")]),
        flagged(4, record("d"), [Finding("near_copy", ""), Finding("near_copy", "again")]),
    ]
    assert [row.id for row in reading_order(rows)] == ["c", "b", "a", "d"]
    assert [finding.kind for finding in rows[1].findings] == ["leak", "near_copy"]


def test_every_kind_says_what_it_means() -> None:
    assert set(KINDS) == set(MEANINGS)


@pytest.mark.parametrize("text", ["(" * 10**6, "the " * 60_000, "\\begin{" * 10**5, "é" * 10**6, "a\n" * 100_000])
def test_huge_texts_are_looked_over(text: str) -> None:
    assert inspect(record(text=text))


# The command.


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run(*args: Any) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["audit", *map(str, args)], env={"COLUMNS": "200"})
    return result.exit_code, result.output


ROWS = [
    record("good"),
    record("bad", OWN.replace("7", "8")),
    record("leaky", "As the teacher says, 3 + 4 = 7, so it is \\boxed{7}.", tier="guided"),
    record("none", "I do not know how to do this one, sorry about it.", tier="guided"),
    record("good", EXPERT, tier="expert"),
]


def test_json_summary_counts_by_tier_and_ranks(tmp_path: Path) -> None:
    code, output = run(write(tmp_path / "out.jsonl", ROWS), "--json")
    assert code == 0, output
    summary = json.loads(output)
    assert (summary["rows"], summary["rows_with_findings"]) == (5, 4)
    assert summary["tiers"] == {"self": 2, "guided": 2, "expert": 1}
    found = {kind: counts for kind, counts in summary["findings"].items() if any(counts.values())}
    assert found == {
        "duplicate_id": {"self": 0, "guided": 0, "expert": 1},
        "wrong": {"self": 1, "guided": 0, "expert": 0},
        "leak": {"self": 0, "guided": 1, "expert": 0},
        "no_answer": {"self": 0, "guided": 1, "expert": 0},
    }
    assert [(row["line"], row["score"]) for row in summary["read_first"]] == [(2, 10), (5, 10), (3, 7), (4, 6)]


def test_findings_file_has_every_flagged_row_in_reading_order(tmp_path: Path) -> None:
    code, output = run(write(tmp_path / "out.jsonl", ROWS), "-o", tmp_path / "found.jsonl", "--top", 1)
    assert code == 0, output
    rows = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert [row["line"] for row in rows] == [2, 5, 3, 4]
    assert rows[2] == {
        "line": 3,
        "id": "leaky",
        "tier": "guided",
        "findings": [{"kind": "leak", "detail": "says 'as the teacher says'"}],
        "excerpt": ROWS[2]["messages"][1]["content"],
        "score": 7,
    }
    assert "4 of 5 rows have findings" in output
    assert "line 2, self, id bad: wrong: does not come to the reference answer '7'" in output
    assert "line 5" not in output, "--top 1 shows one row"


def test_the_verifier_and_its_options_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "out.jsonl", [record(text="We add 3 and 4 and come to about \\boxed{7.02} apples.")])
    loose = run(path, "--verifier", "numeric", "--verifier-option", "abs_tol=0.1", "--json")
    strict = run(path, "--verifier", "numeric", "--json")
    assert [json.loads(output)["findings"]["wrong"]["self"] for _, output in (loose, strict)] == [0, 1]


def test_a_sound_file(tmp_path: Path) -> None:
    assert run(write(tmp_path / "out.jsonl", [ROWS[0]])) == (0, "1 rows, no findings.\n")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 0),
        (["--fail-on", "any"], 1),
        (["--fail-on", "leak"], 1),
        (["--fail-on", "language"], 0),
        (["--fail-on", "language", "--fail-on", "wrong"], 1),
    ],
)
def test_fail_on_sets_the_exit_code(tmp_path: Path, options: list[str], code: int) -> None:
    assert run(write(tmp_path / "out.jsonl", ROWS), *options)[0] == code


def test_hostile_text_does_not_reach_the_terminal(tmp_path: Path) -> None:
    hostile = record("\x1b[2J[red]id", "[bold]\x1b]0;owned\x07 the given solution says [/nope] 8 \u202e")
    code, output = run(write(tmp_path / "out.jsonl", [hostile]))
    assert code == 0, output
    assert "\x1b" not in output
    assert "\x07" not in output
    assert "\u202e" not in output
    assert "[red]id" in output


ERRORS = [
    ("missing file", None, "{file}: cannot be read: No such file or directory"),
    ("empty", "", "{file}: the file has no rows"),
    ("not JSON", "{nope\n", "{file}:1: not JSON: Expecting property name enclosed in double quotes at column 2"),
    (
        "plain SFT file",
        '{"question": "1+1", "answer": "2"}\n',
        "{file}:1: field provenance.verifier: missing; this is no rewritten file",
    ),
    (
        "broken row",
        json.dumps(ROWS[0]) + "\n" + json.dumps(record(policy_logprobs=[-0.5])) + "\n",
        "{file}:2: policy_logprobs has 1 values for 3 response_token_ids; "
        "`mindgap-data validate {file}` lists every such row",
    ),
    (
        "unknown version",
        json.dumps(record(provenance={**ROWS[0]["provenance"], "schema_version": 2})) + "\n",
        "{file}:1: provenance.schema_version is 2; this mindgap reads version 1; "
        "`mindgap-data validate {file}` lists every such row",
    ),
    (
        "verifier that is code",
        json.dumps(record(provenance={**ROWS[0]["provenance"], "verifier": "os:system"})) + "\n",
        "{file}: made with verifier 'os:system'; name it with --verifier to run it",
    ),
]


@pytest.mark.parametrize(("text", "message"), [case[1:] for case in ERRORS], ids=[case[0] for case in ERRORS])
def test_bad_input_is_one_line(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "in.jsonl"
    if text is not None:
        path.write_text(text)
    assert run(path) == (2, "Error: " + message.format(file=path) + "\n")
