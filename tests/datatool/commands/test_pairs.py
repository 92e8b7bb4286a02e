"""The one grammar of NAME=VALUE options, and that every command with such an option uses it."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mindgap_data.commands import main
from mindgap_data.commands.pairs import pairs_from
from mindgap_data.errors import UserError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-0.5", -0.5),
        ("1e-3", 0.001),  # YAML 1.1 reads text here
        (".5", 0.5),
        ("5.", 5.0),
        ("yes", True),
        ("No", False),  # JSON alone reads text here, which is true
        ("off", False),
        ("TRUE", True),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ('{"a": 1}', {"a": 1}),
        ('"yes"', "yes"),
        ("^[a-z]+: no$", "^[a-z]+: no$"),  # a mapping, or no YAML at all
        ("[abc]", "[abc]"),
        ("a # b", "a # b"),
        ("2026-11-25", "2026-11-25"),
        ("010", "010"),
        ("NaN", "NaN"),
        ("http://127.0.0.1:8000/v1?a=b", "http://127.0.0.1:8000/v1?a=b"),
        ("", ""),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_values(text: str, value: Any) -> None:
    read = pairs_from([f"name={text}"], "--verifier-option")["name"]
    assert (type(read), read) == (type(value), value)


def test_names_take_hyphens_and_the_last_value_counts() -> None:
    assert pairs_from(["rel-tol=1", " b =2", "rel_tol=3"], "--verifier-option") == {"rel_tol": 3, "b": 2}


@pytest.mark.parametrize("text", ["", "x", "=5", " =5"])
def test_what_is_no_pair(text: str) -> None:
    with pytest.raises(UserError) as error:
        pairs_from([text], "--engine-arg")
    assert error.value.message == f"--engine-arg {text!r}: give it as NAME=VALUE"


@pytest.mark.parametrize(("value", "accuracy"), [("no", "0.0000"), ("yes", "1.0000")])
def test_verify_reads_no_as_false(tmp_path: Path, value: str, accuracy: str) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text(json.dumps({"response": "RED", "answer": "red"}) + "\n")
    arguments = ["verify", str(file), "--verifier", "exact", "--verifier-option", f"ignore_case={value}"]
    assert CliRunner().invoke(main, arguments).stdout.endswith(f"accuracy {accuracy} of 1 responses\n")
