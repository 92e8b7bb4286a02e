"""``mindgap-data verify`` as a user runs it."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mindgap_data.commands import main


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["verify", *(str(argument) for argument in arguments)])


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


RIGHT = {"response": r"\boxed{5}", "answer": "5"}


def test_counts_accuracy_and_verdicts_beside_the_rows(tmp_path: Path) -> None:
    rows = [
        RIGHT,
        {"response": "The answer is 6.", "answer": 5, "extra": [1]},
        {"response": "I do not know.", "answer": "5"},
        {"response": r"\boxed{9^{9^{9^9}}}", "answer": "5"},
    ]
    result = run(write(tmp_path / "in.jsonl", *rows), "-o", tmp_path / "out.jsonl")
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        "correct              1   25.0%\n"
        "wrong                1   25.0%\n"
        "no_answer            1   25.0%\n"
        "checker_error        1   25.0%\n"
        "accuracy 0.2500 of 4 responses\n"
    )
    assert result.stderr == (
        "A checker error is neither right nor wrong: the check failed, ran out of time or memory.\n"
    )
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    verdicts = ["correct", "wrong", "no_answer", "checker_error"]
    assert written == [{**row, "verdict": verdict} for row, verdict in zip(rows, verdicts, strict=True)]


@pytest.mark.parametrize(
    ("row", "options"),
    [
        (RIGHT, []),
        ({"completion": "5", "gold": 5}, []),
        ({"text": "5", "truth": 5.0}, ["--response-field", "text", "--answer-field", "truth"]),
        (
            {
                "messages": [{"role": "user", "content": "2+3?"}, {"role": "assistant", "content": "It is 5."}],
                "answer": "5",
            },
            [],
        ),
        ({"completion": [{"role": "assistant", "content": "It is 5."}], "answer": "worked\n#### 5"}, []),
        ({"response": "red", "answer": "red"}, ["--verifier", "exact"]),
        ({"response": "5.1", "answer": "5"}, ["--verifier", "numeric", "--verifier-option", "rel_tol=0.1"]),
        ({"response": "abc"}, ["--verifier", "regex", "--verifier-option", "pattern=^a"]),
        ({"response": "abc", "answer": "abc", "verifier": "exact"}, []),
    ],
)
def test_forms_of_rows(tmp_path: Path, row: dict[str, Any], options: list[str]) -> None:
    result = run(write(tmp_path / "in.jsonl", row), *options)
    assert result.stdout.endswith("accuracy 1.0000 of 1 responses\n"), result.output


def test_several_responses_in_a_row(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", {"response": ["5", "6", "5"], "answer": "5"})
    result = run(file, "-o", tmp_path / "out.jsonl")
    assert result.stdout.endswith("accuracy 0.6667 of 3 responses\n")
    assert json.loads((tmp_path / "out.jsonl").read_text())["verdict"] == ["correct", "wrong", "correct"]


RESPONSES = "response, completion, prediction, output, generation, messages"
ANSWERS = "answer, reference, reference_answer, gold, target, Answer"
NAMES = "math, numeric, exact, choice, regex, json, tool_call, code, instructions, judge, none"
NAME_RESPONSE, NAME_ANSWER = "name the response with --response-field", "name the reference answer with --answer-field"
USER_LAST = {"messages": [{"role": "user", "content": "x"}], "answer": "5"}


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        ({"response": "5"}, [], f"no reference answer in fields {ANSWERS}; name it with --answer-field"),
        ({"answer": "5"}, [], f"no response in fields {RESPONSES}; name it with --response-field"),
        (RIGHT, ["--response-field", "text"], f"field text: not in this row; {NAME_RESPONSE}"),
        (RIGHT, ["--answer-field", "gold"], f"field gold: not in this row; {NAME_ANSWER}"),
        (
            {"response": 5, "answer": "5"},
            [],
            "field response: a response must be a text, a list of texts or chat messages",
        ),
        (
            {"response": "5", "answer": [5]},
            [],
            "field answer: a reference answer must be a text or a number, got list",
        ),
        (USER_LAST, [], "field messages: the last turn must be text of the assistant, got role 'user'"),
        ({**RIGHT, "verifier": "os:system"}, [], f"field verifier: 'os:system' is not one of {NAMES}"),
        (5, [], "a row must be a JSON object, not int"),
    ],
)
def test_a_bad_row_is_named_with_its_line(tmp_path: Path, row: Any, options: list[str], message: str) -> None:
    right = {**RIGHT, "text": "5", "gold": "5"}  # good whichever fields are asked for
    file = write(tmp_path / "in.jsonl", right, row)
    result = run(file, *options)
    assert result.stderr == f"Error: {file}:2: {message}\n"
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([], [], "FILE: the file has no rows"),
        ([RIGHT], ["--verifier-option", "x"], "--verifier-option 'x': give it as NAME=VALUE"),
        (
            [RIGHT],
            ["--verifier", "nope"],
            f"verifier 'nope': no such verifier; use one of {NAMES}, or module:function",
        ),
        ([RIGHT], ["--timeout", "0"], "the time limit of a check must be above 0 seconds, got 0.0"),
        ([RIGHT], ["-o", "FILE"], "FILE: the output is the input; name another file with -o"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, rows: list[Any], options: list[str], message: str
) -> None:
    file = write(tmp_path / "in.jsonl", *rows)
    result = run(file, *(option.replace("FILE", str(file)) for option in options))
    assert result.stderr == f"Error: {message.replace('FILE', str(file))}\n"
    assert result.exit_code == 2


def test_a_failed_run_leaves_no_output(tmp_path: Path) -> None:
    result = run(write(tmp_path / "in.jsonl", RIGHT, 5), "-o", tmp_path / "out.jsonl")
    assert result.exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl"]
