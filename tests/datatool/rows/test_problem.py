"""Rows as people have them: what each becomes, and what is said of those that cannot be used."""

import json
from pathlib import Path

import pytest

from mindgap_data.fingerprints import content_id
from mindgap_data.record import Record
from mindgap_data.rows.problem import to_demonstration, to_problem
from mindgap_data.rows.shapes import FORMATS, Fields, conversation
from mindgap_data.rows.values import RowError

DATA = Path(__file__).parents[1] / "data"
NONE = Fields()


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


SYSTEM = {"role": "system", "content": "Be brief."}
BOXED = "So \\boxed{4}."
CHAT = [user("2 + 2?"), assistant(BOXED)]

# (format, row, prompt, expert, answer)
SHAPES = [
    ("messages", {"messages": CHAT}, [user("2 + 2?")], BOXED, "4"),
    ("messages", {"messages": [SYSTEM, *CHAT]}, [SYSTEM, user("2 + 2?")], BOXED, "4"),
    ("messages", {"messages": CHAT, "answer": 5}, [user("2 + 2?")], BOXED, "5"),
    ("messages", {"messages": [user("a"), assistant("b"), *CHAT]}, [user("a"), assistant("b"), CHAT[0]], BOXED, "4"),
    ("messages", {"messages": [*CHAT, user("thanks")]}, [user("2 + 2?")], BOXED, "4"),
    (
        "messages",
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "2 +"}, {"type": "text", "text": " 2?"}]},
                CHAT[1],
            ]
        },
        [user("2 + 2?")],
        BOXED,
        "4",
    ),
    (
        "messages",
        {"messages": [{"role": "human", "content": "hi", "name": "Bo", "weight": None}, CHAT[1]]},
        [{"role": "user", "content": "hi", "name": "Bo"}],
        BOXED,
        "4",
    ),
    (
        "conversations",
        {"conversations": [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": BOXED}]},
        [user("2 + 2?")],
        BOXED,
        "4",
    ),
    (
        "conversations",
        {
            "system": "Be brief.",
            "conversations": [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": BOXED}],
        },
        [SYSTEM, user("2 + 2?")],
        BOXED,
        "4",
    ),
    ("conversations", {"system": "", "conversations": CHAT}, [user("2 + 2?")], BOXED, "4"),
    ("alpaca", {"instruction": "Add.", "input": "2 and 2", "output": BOXED}, [user("Add.\n\n2 and 2")], BOXED, "4"),
    ("alpaca", {"instruction": "2 + 2?", "input": "", "output": BOXED}, [user("2 + 2?")], BOXED, "4"),
    ("alpaca", {"instruction": "2 + 2?", "output": BOXED, "system": "Be brief."}, [SYSTEM, user("2 + 2?")], BOXED, "4"),
    ("prompt-completion", {"prompt": "2 + 2?", "completion": BOXED}, [user("2 + 2?")], BOXED, "4"),
    ("prompt-completion", {"prompt": [SYSTEM, user("2 + 2?")], "completion": [CHAT[1]]}, [SYSTEM, CHAT[0]], BOXED, "4"),
    (
        "prompt-completion",
        {"prompt": [user("a")], "completion": [assistant("b"), *CHAT]},
        [user("a"), assistant("b"), CHAT[0]],
        BOXED,
        "4",
    ),
    ("question-answer", {"question": "2 + 2?", "answer": "2+2=<<2+2=4>>4\n#### 4"}, [CHAT[0]], "2+2=4\n#### 4", "4"),
    (
        "question-answer",
        {"question": "2 + 2?", "answer": "cout << 2 >> 4, \\boxed{4}"},
        [CHAT[0]],
        "cout << 2 >> 4, \\boxed{4}",
        "4",
    ),
    ("question-answer", {"question": "2 + 2?", "answer": "Easy.", "final_answer": "4"}, [CHAT[0]], "Easy.", "4"),
    ("problem-solution", {"problem": "2 + 2?", "solution": "Four.", "answer": "4"}, [CHAT[0]], "Four.", "4"),
    ("problem-solution", {"problem": "2 + 2?", "solution": BOXED}, [CHAT[0]], BOXED, "4"),
    ("question-solution", {"question": "2 + 2?", "solution": "Four.", "answer": 4.0}, [CHAT[0]], "Four.", "4"),
    (
        "svamp",
        {
            "ID": "c1",
            "Body": "Jo has 3 pens",
            "Question": "How many?",
            "Equation": "( ( 3.0 + 1.5 ) * 2.0 )",
            "Answer": 9.0,
        },
        [user("Jo has 3 pens. How many?")],
        "(3 + 1.5) * 2 = 9\nThe answer is \\boxed{9}.",
        "9",
    ),
    (
        "svamp",
        {"Body": "Jo has pens.", "Question": "How many?", "Equation": "( ( 1.0 + 2.0 ) * ( 3.0 - 1.0 ) )", "Answer": 6},
        [user("Jo has pens. How many?")],
        "(1 + 2) * (3 - 1) = 6\nThe answer is \\boxed{6}.",
        "6",
    ),
    (
        "mindgap",
        {
            "messages": [CHAT[0], assistant("mine")],
            "tier": "self",
            "expert": BOXED,
            "answer": "4",
            "response_token_ids": [1],
        },
        [CHAT[0]],
        BOXED,
        "4",
    ),
]


@pytest.mark.parametrize(("name", "row", "prompt", "expert", "answer"), SHAPES)
def test_shapes_are_recognised_by_themselves(name, row, prompt, expert, answer):
    problem = to_problem(row, NONE)
    assert (conversation(row, NONE).format, list(problem.messages), problem.expert, problem.answer) == (
        name,
        prompt,
        expert,
        answer,
    )
    assert problem.row == row


def test_every_format_has_a_case():
    assert {name for name, *_ in SHAPES} == set(FORMATS)


PUBLISHED = [
    ("gsm8k.jsonl", "question-answer"),
    ("math.jsonl", "problem-solution"),
    ("svamp.jsonl", "svamp"),
]


@pytest.mark.parametrize(("file", "name"), PUBLISHED)
def test_published_rows(file, name):
    for line in (DATA / file).read_text().splitlines():
        row = json.loads(line)
        problem = to_problem(row, NONE)
        assert conversation(row, NONE).format == name
        assert "<<" not in problem.expert
        if name == "question-answer":
            assert problem.answer == row["answer"].rpartition("#### ")[2]
            assert problem.extra == ({"input.answer": row["answer"]} if "<<" in row["answer"] else {})
        elif name == "problem-solution":
            assert (problem.answer, problem.expert) == (row["answer"], row["solution"])
            assert problem.extra == {"subject": row["subject"], "level": row["level"]}
        else:
            assert problem.id == row["ID"]
            assert float(problem.answer) == row["Answer"]
            assert {"Type", "Answer", "ID", "input.Equation"} <= problem.extra.keys()


OVERRIDES = [
    (Fields(messages="talk"), {"talk": CHAT, "messages": "other"}, BOXED, "4"),
    (Fields(prompt="q", response="r"), {"q": "2 + 2?", "r": BOXED, "messages": CHAT}, BOXED, "4"),
    (Fields(response="long"), {"question": "2 + 2?", "answer": "4", "long": "Four."}, "Four.", "4"),
    (Fields(prompt="task"), {"task": "2 + 2?", "output": "x", "completion": BOXED}, "x", None),
    (Fields(answer="gold"), {"messages": CHAT, "gold": "5", "answer": "6"}, BOXED, "5"),
    (Fields(answer="gold"), {"messages": CHAT, "gold": "long\n#### 7"}, BOXED, "7"),
    (Fields(answer="answer"), {"question": "2 + 2?", "answer": "4"}, "4", "4"),
    (
        Fields(format="problem-solution"),
        {"messages": CHAT, "problem": "2 + 2?", "solution": "\\boxed{3}"},
        "\\boxed{3}",
        "3",
    ),
    (Fields(format="prompt-completion", response="r"), {"prompt": "2 + 2?", "r": BOXED}, BOXED, "4"),
]


@pytest.mark.parametrize(("fields", "row", "expert", "answer"), OVERRIDES)
def test_options_override_what_is_recognised(fields, row, expert, answer):
    assert conversation(row, fields).expert == expert
    if answer is not None:
        assert to_problem(row, fields).answer == answer


def test_system_field_adds_a_system_turn_unless_the_row_has_one():
    row = {"question": "2 + 2?", "answer": BOXED, "style": "Be brief."}
    assert to_problem(row, Fields(system="style")).messages == (SYSTEM, CHAT[0])
    assert to_problem({**row, "style": None}, Fields(system="style")).messages == (CHAT[0],)
    own = {"messages": [{"role": "system", "content": "Own."}, *CHAT], "style": "Be brief."}
    assert to_problem(own, Fields(system="style")).messages[0]["content"] == "Own."


UNUSABLE = [
    ({}, NONE, "unrecognised columns: none; name them with --messages-field, or --prompt-field and --response-field"),
    (
        {"q": 1, "a": 2},
        NONE,
        "unrecognised columns: q, a; name them with --messages-field, or --prompt-field and --response-field",
    ),
    ({"q": 1}, Fields(format="alpaca"), "no columns instruction and output (format alpaca); columns found: q"),
    ({"question": "x", "answer": None}, NONE, "field answer: must be text, not null"),
    ({"question": "x", "answer": " "}, NONE, "field answer: is empty"),
    ({"question": 3, "answer": BOXED}, NONE, "field question: must be text, not int 3"),
    (
        {"question": "x", "answer": "y"},
        NONE,
        "no reference answer: no \\boxed{} and no #### in the demonstration; "
        "name the column that holds it with --answer-field",
    ),
    (
        {"question": "x", "answer": BOXED},
        Fields(answer="gold"),
        "field gold: not in the row (--answer-field); columns found: question, answer",
    ),
    ({"messages": CHAT, "gold": None}, Fields(answer="gold"), "field gold: must be text or a number, not null"),
    ({"messages": CHAT, "answer": True}, NONE, "field answer: must be text or a number, not bool True"),
    ({"messages": CHAT, "answer": ["4"]}, NONE, "field answer: must be text or a number, not list ['4']"),
    ({"messages": CHAT, "id": {"a": 1}}, NONE, "field id: must be text or a number, not dict {'a': 1}"),
    ({"messages": CHAT}, Fields(id="key"), "field key: not in the row (--id-field); columns found: messages"),
    ({"messages": []}, NONE, "field messages: must be a list of turns, not list []"),
    ({"messages": "hi"}, NONE, "field messages: must be a list of turns, not str hi"),
    ({"messages": ["hi"]}, NONE, "field messages[0]: must be an object, not str hi"),
    ({"messages": [{"role": "narrator", "content": "x"}]}, NONE, "field messages[0]: unknown role narrator"),
    ({"messages": [{"content": "x"}]}, NONE, "field messages[0]: unknown role None"),
    ({"messages": [{"role": "user", "content": 3}]}, NONE, "field messages[0]: content must be text, not int 3"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image", "url": "x"}]}, CHAT[1]]},
        NONE,
        "field messages[0]: only text parts can be used",
    ),
    ({"messages": [user("x")]}, NONE, "field messages: no assistant turn to rewrite"),
    ({"messages": [assistant("x")]}, NONE, "field messages: no user turn before the last assistant turn"),
    (
        {"messages": [user("x"), assistant(" ")]},
        NONE,
        "field messages: the last assistant turn has neither text nor tool calls",
    ),
    (
        {"messages": [user("x"), {"role": "assistant", "content": None, "tool_calls": [{}]}]},
        NONE,
        "field messages[1].tool_calls: must be calls, each with a name and arguments, not list [{}]",
    ),
    ({"question": "a\ud800", "answer": BOXED}, NONE, "field prompt: half of a surrogate pair at character 1, not text"),
    (
        {"messages": CHAT, "behavior_logprobs": [-1.0]},
        NONE,
        "field response_token_ids: must hold the ids that behavior_logprobs belong to",
    ),
    (
        {"messages": CHAT, "behavior_logprobs": [-1.0], "response_token_ids": [1, 2]},
        NONE,
        "field behavior_logprobs: 1 values for 2 response_token_ids",
    ),
    (
        {"messages": CHAT, "behavior_logprobs": ["x"], "response_token_ids": [1]},
        NONE,
        "field behavior_logprobs: must be a list of log-probabilities",
    ),
    (
        {"Body": "x", "Question": "y", "Equation": "1"},
        NONE,
        "field Answer: must be text or a number, not null",
    ),
]


@pytest.mark.parametrize(("row", "fields", "reason"), UNUSABLE)
def test_what_is_said_of_a_row_that_cannot_be_used(row, fields, reason):
    with pytest.raises(RowError) as error:
        to_problem(row, fields)
    assert str(error.value) == reason


def test_columns_of_a_merged_table_that_are_null_do_not_decide_its_format():
    row = {"messages": None, "conversations": None, "question": "2 + 2?", "answer": BOXED}
    assert conversation(row, NONE).format == "question-answer"


@pytest.mark.parametrize(
    ("row", "fields", "key"),
    [
        ({"id": "a", "uuid": "b"}, NONE, "a"),
        ({"ID": 7}, NONE, "7"),
        ({"uuid": "b"}, NONE, "b"),
        ({"id": 7.0}, NONE, "7"),
        ({"id": "", "uuid": "b"}, NONE, "b"),
        ({"id": "a", "key": "k"}, Fields(id="key"), "k"),
        ({}, NONE, content_id([CHAT[0]], "4")),
        ({"id": None}, NONE, content_id([CHAT[0]], "4")),
    ],
)
def test_ids(row, fields, key):
    assert to_problem({"messages": CHAT, **row}, fields).id == key


def test_an_id_of_our_own_does_not_depend_on_the_instruction():
    row = {"messages": CHAT}
    assert to_problem(row, NONE, "Think.").id == to_problem(row, NONE).id


def test_instruction_goes_to_the_last_user_turn_once():
    row = {"messages": [SYSTEM, user("a"), assistant("b"), *CHAT]}
    once = to_problem(row, NONE, "Think.").messages
    assert once == (SYSTEM, user("a"), assistant("b"), user("2 + 2?\n\nThink."))
    assert to_problem({"messages": [*once, CHAT[1]]}, NONE, "Think.").messages == once


EXTRA = [
    ({"messages": CHAT, "source": "x", "level": 3, "tags": [None]}, {"source": "x", "level": 3, "tags": [None]}),
    ({"messages": CHAT, "tier": "gold", "attempts": 3}, {"input.tier": "gold", "input.attempts": 3}),
    ({"messages": CHAT, "answer": "4", "id": "a", "expert": BOXED}, {}),
    ({"messages": CHAT, "answer": 4, "id": 7}, {"input.answer": 4, "input.id": 7}),
    ({"messages": CHAT, "tier": 1, "input.tier": 2}, {"input.input.tier": 1, "input.tier": 2}),
    ({"messages": [*CHAT, user("thanks")]}, {"input.messages": [*CHAT, user("thanks")]}),
    ({"conversations": CHAT, "messages": None}, {}),
    ({"instruction": "Add.", "input": "", "output": BOXED}, {}),
    ({"instruction": "Add.", "input": "2, 2", "output": BOXED}, {"input.instruction": "Add.", "input.input": "2, 2"}),
    ({"prompt": [CHAT[0]], "completion": [CHAT[1]]}, {}),
    ({"question": "q", "answer": "<<1>>x\n#### 1"}, {"input.answer": "<<1>>x\n#### 1"}),
    (
        {"messages": CHAT, "response_token_ids": [1], "behavior_logprobs": [-1.0]},
        {"input.response_token_ids": [1], "input.behavior_logprobs": [-1.0]},
    ),
]


@pytest.mark.parametrize(("row", "extra"), EXTRA)
def test_columns_pass_through_and_none_is_lost_to_a_record_field(row, extra):
    found = to_problem(row, NONE).extra
    assert found == extra
    assert not found.keys() & Record.model_fields.keys()


def test_logged_log_probs_survive_a_second_rewriting():
    row = {"messages": CHAT, "response_token_ids": [1, 2], "behavior_logprobs": [-1.0, 0]}
    first = to_problem(row, NONE)
    assert (first.expert_token_ids, first.expert_logprobs) == ([1, 2], [-1.0, 0.0])
    rewritten = {
        "messages": [CHAT[0], assistant("mine")],
        "expert": first.expert,
        "answer": first.answer,
        "tier": "self",
        "response_token_ids": [9],
        "behavior_logprobs": [-3.0],
        **first.extra,
    }
    second = to_problem(rewritten, NONE)
    assert (second.expert_token_ids, second.expert_logprobs) == ([1, 2], [-1.0, 0.0])
    assert second.extra == first.extra


def test_a_row_may_name_its_verifier():
    assert to_problem({"messages": CHAT, "verifier": "exact"}, NONE).verifier == "exact"
    assert to_problem({"messages": CHAT}, NONE).verifier is None


def test_a_row_that_is_only_scored_needs_no_reference_answer():
    row = {"messages": [CHAT[0], assistant("Four.")], "tier": "gold", "answer": ["4"]}
    problem = to_demonstration(row, NONE)
    assert (problem.answer, problem.expert) == ("", "Four.")
    assert problem.id == content_id([CHAT[0]], "Four.")
    assert problem.extra == {"input.tier": "gold", "input.answer": ["4"]}
    assert to_demonstration({"messages": CHAT}, NONE) == to_problem({"messages": CHAT}, NONE)
    with pytest.raises(RowError, match="no assistant turn to rewrite"):
        to_demonstration({"messages": [user("x")]}, NONE)
