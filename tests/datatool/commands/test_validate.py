"""`mindgap-data validate`: what it prints and how it exits."""

import json

import pytest
from click.testing import CliRunner

from good_record import record
from mindgap_data.commands import main
from mindgap_data.rows.jsonl import dumps
from tiny import save_tiny_tokenizer


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(rows, *options):
        """(exit code, output) for a file of rows, or of text."""
        text = rows if isinstance(rows, str) else "".join(dumps(row) + "\n" for row in rows)
        (tmp_path / "out.jsonl").write_text(text)
        result = CliRunner().invoke(main, ["validate", "out.jsonl", *options])
        return result.exit_code, result.output

    return run


GOOD = [record(), record(id="r2", tier="guided"), record(id="r3", tier="expert", behavior_logprobs=None)]


def test_a_good_file(run):
    assert run(GOOD) == (0, "out.jsonl: 3 rows, all valid (1 self, 1 guided, 1 expert)\n")


def test_every_fault_is_named_with_its_line(run):
    rows = [record(), record(), record(id="r3", policy_logprobs=[-1.0]), {"id": "r4"}]
    assert run("\n".join(map(dumps, rows)) + "\nnot json\n") == (
        2,
        "out.jsonl:2: field id: 'r1' is line 1's already\n"
        "out.jsonl:3: policy_logprobs has 1 values for 2 response_token_ids\n"
        "out.jsonl:4: field messages: field required\n"
        "out.jsonl:5: not JSON: Expecting value at column 1\n"
        "out.jsonl: 1 of 5 rows are valid (1 self, 0 guided, 0 expert)\n",
    )


def test_max_errors(run):
    assert run([{}] * 5, "--max-errors", "1") == (
        2,
        "out.jsonl:1: field id: field required\n"
        "... and 4 more; --max-errors shows them\n"
        "out.jsonl: 0 of 5 rows are valid (0 self, 0 guided, 0 expert)\n",
    )


def test_json(run):
    code, output = run([*GOOD, {}], "--json")
    assert code == 2
    assert json.loads(output) == {
        "file": "out.jsonl",
        "rows": 4,
        "wrong": 1,
        "tiers": {"self": 1, "guided": 1, "expert": 1},
        "errors": [{"line": 4, "error": "field id: field required"}],
    }


def test_control_characters_of_a_hostile_row_do_not_reach_the_terminal(run):
    code, output = run([record(id="\x1b[2J"), record(id="\x1b[2J"), record(id="x", attempts={"\x1b[31m": 1})])
    assert code == 2
    assert "\x1b" not in output
    assert "out.jsonl:3: field attempts.\\x1b[31m: extra inputs are not permitted" in output


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_file(run, text):
    assert run(text) == (2, "Error: out.jsonl: the file has no rows\n")


def test_a_missing_file():
    result = CliRunner().invoke(main, ["validate", "none.jsonl"])
    assert (result.exit_code, result.output) == (
        2,
        "Error: none.jsonl: cannot be read: No such file or directory\n",
    )


def test_a_template_without_a_tokenizer(run, tmp_path):
    (tmp_path / "t.jinja").write_text("x")
    assert run(GOOD, "--chat-template", "t.jinja") == (
        2,
        "Error: --chat-template: name the tokenizer it belongs to with --tokenizer\n",
    )


@pytest.fixture
def tiny(tmp_path):
    """A tokenizer's folder, and a function that makes good records of it."""
    from mindgap_data.policy.models import ModelSpec, load_tokenizer

    folder = tmp_path / "tiny"
    save_tiny_tokenizer(folder)
    chat = load_tokenizer(ModelSpec(model=str(folder)))

    def make(text="It is 4 é.", **changes):
        ids = list(chat.response_ids(text))
        row = record(
            messages=[{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": text}],
            response_token_ids=ids,
            behavior_logprobs=[-1.0] * len(ids),
            policy_logprobs=[-1.0] * len(ids),
        )
        row["provenance"] = {**row["provenance"], "tokenizer": chat.fingerprint, "chat_template": chat.template}
        return {**row, **changes}

    return chat, make


def test_with_the_tokenizer_a_good_file_is_good(run, tiny):
    _, make = tiny
    rows = [make(), make("", id="r2"), make("\n  <b>\U0001f600</b>", id="r3")]
    assert run(rows, "--tokenizer", "tiny") == (0, "out.jsonl: 3 rows, all valid (3 self, 0 guided, 0 expert)\n")


def test_with_the_tokenizer_what_does_not_fit_it_is_named(run, tiny):
    chat, make = tiny
    good = make()
    ids = good["response_token_ids"]
    other = {"role": "assistant", "content": "It is 5 é."}
    rows = [
        make(id="a", provenance={**good["provenance"], "tokenizer": "sha256:0"}),
        make(id="b", provenance={**good["provenance"], "chat_template": "sha256:0"}),
        make(id="c", response_token_ids=[*ids[:-1], 999]),
        make(id="d", response_token_ids=[*ids[:-1], ids[0]]),
        make(id="e", messages=[good["messages"][0], other]),
    ]
    assert run(rows, "--tokenizer", "tiny") == (
        2,
        f"out.jsonl:1: field provenance.tokenizer: made with sha256:0, tiny is {chat.fingerprint}\n"
        f"out.jsonl:2: field provenance.chat_template: made with sha256:0, tiny is {chat.template}\n"
        "out.jsonl:3: field response_token_ids: 999 is not in the vocabulary of 259\n"
        f"out.jsonl:4: field response_token_ids: the last id, {ids[0]}, does not end the turn\n"
        "out.jsonl:5: field response_token_ids decode to another text than the last message, from character 6 on\n"
        "out.jsonl: 0 of 5 rows are valid (0 self, 0 guided, 0 expert)\n",
    )


def test_a_prompt_the_template_refuses(run, tiny, tmp_path):
    from mindgap_data.fingerprints import template_fingerprint
    from tiny import CHATML

    _, make = tiny
    template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turns') }}{% endif %}" + CHATML
    (tmp_path / "t.jinja").write_text(template)
    row = make()
    row["messages"] = [{"role": "system", "content": "Be brief."}, *row["messages"]]
    row["provenance"]["chat_template"] = template_fingerprint(template)
    code, output = run([row], "--tokenizer", "tiny", "--chat-template", "t.jinja")
    assert code == 2
    assert "out.jsonl:1: field messages: tiny: the chat template refuses this conversation: no system turns\n" in output
