"""The demo's problems: forty or so of our own, each worked out right."""

import json
import re
from operator import add, mul, sub, truediv
from pathlib import Path

from mindgap_data.rows.problem import to_problem
from mindgap_data.rows.shapes import Fields, conversation

FILE = Path(__file__).parents[3] / "recipes" / "data" / "word_problems.jsonl"
ROWS = [json.loads(line) for line in FILE.read_text().splitlines()]
OPERATORS = {"+": add, "-": sub, "*": mul, "/": truediv}


def test_there_are_enough_and_none_twice():
    assert 40 <= len(ROWS) <= 50
    for field in ("id", "problem", "solution"):
        assert len({row[field] for row in ROWS}) == len(ROWS)


def test_every_row_is_read_with_the_answer_in_its_box():
    for row in ROWS:
        problem = to_problem(row, Fields())
        boxed = to_problem({key: row[key] for key in ("problem", "solution")}, Fields())
        assert conversation(row, Fields()).format == "problem-solution"
        assert (problem.id, problem.answer, problem.extra) == (row["id"], boxed.answer, {})


def test_every_step_of_every_solution_computes_and_the_last_gives_the_answer():
    for row in ROWS:
        steps = re.findall(r"(\d+) ([-+*/]) (\d+) = (\d+)", row["solution"])
        assert 1 <= len(steps) <= 2, row["id"]
        assert row["solution"].count("=") == len(steps), row["id"]
        for left, operator, right, result in steps:
            assert OPERATORS[operator](int(left), int(right)) == int(result), row["id"]
        assert steps[-1][3] == row["answer"], row["id"]


def test_problems_go_from_one_digit_sums_to_two_steps():
    steps = [row["solution"].count("=") for row in ROWS]
    one_digit = [
        row
        for row in ROWS
        if row["solution"].count("=") == 1
        and all(len(n) == 1 for n in re.findall(r"\d+", row["problem"]))
        and len(row["answer"]) == 1
    ]
    assert len(one_digit) >= 12
    assert steps.count(2) >= 12
