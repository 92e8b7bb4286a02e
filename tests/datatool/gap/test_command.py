"""`mindgap-data gap` as a user runs it."""

import json
import math

import pytest
from click.testing import CliRunner

from gap_records import make_record, write_records
from mindgap_data.commands import main

ROWS = [
    make_record("self", [-1.0, -2.0], [-1.0, -2.0], [-3.0, -3.5], id="a"),
    make_record("guided", [-1.0, -0.5], [-0.75, -0.25], [-2.0], id="b"),
    make_record("expert", [-2.5, -2.0, -0.5], id="c"),
]


def run(*arguments):
    return CliRunner().invoke(main, ["gap", *map(str, arguments), "--resamples", "50"])


@pytest.fixture
def path(tmp_path):
    return write_records(tmp_path / "a.jsonl", ROWS)


def test_a_pipe_gets_plain_aligned_text(path):
    result = run(path)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == [str(path)]
    assert lines[1].split() == ["self", "guided", "expert", "all"]
    assert lines[2].split() == ["rows", "1", "1", "1", "3"]
    chosen = next(line for line in lines if "NLL/token, chosen" in line)
    assert chosen.split()[2:5] == ["1.500", "[1.500,", "1.500]"]
    assert "\x1b" not in result.stdout
    assert result.stderr == ""


def test_several_files_stand_side_by_side(path, tmp_path):
    other = write_records(tmp_path / "b.jsonl", ROWS[:2])
    result = run(path, other)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.strip() for line in lines if line.strip() in ("all", "self", "guided", "expert")] == [
        "all",
        "expert",
        "guided",
        "self",
    ]
    assert lines[1].split() == [str(path), str(other)]
    assert lines[2].split() == ["rows", "3", "2"]
    assert result.stderr == f"Note: {other}: no expert rows\n"


def test_json_holds_every_figure_and_parses_strictly(path):
    result = run(path, "--json", "--clip", "mask", "--clip-max", "1.2")
    output = json.loads(result.stdout, parse_constant=pytest.fail)
    assert output["version"] == 1
    assert output["settings"] == {
        "clip": "mask",
        "clip_max": 1.2,
        "confidence": 0.95,
        "resamples": 50,
        "seed": 0,
    }
    file = output["files"][0]
    assert file["policy"] == {"model": "tiny", "revision": "r1", "adapter": None, "tokenizer": "sha256:aa"}
    everything = file["tiers"]["all"]
    assert everything["before"]["nll"]["estimate"] == pytest.approx((6.5 + 2 + 5) / 6)
    assert everything["after"]["nll"]["estimate"] == pytest.approx((3 + 1.5 + 5) / 7)
    assert set(everything["weights"]) == {"before", "after", "after_dft"}
    assert set(everything["weights"]["after"]) == {"token", "sequence", "geometric"}
    # Outside [1/1.2, 1.2]: both guided tokens (e^-0.25) and the three expert ones.
    assert everything["weights"]["after"]["token"]["clipped_share"]["estimate"] == pytest.approx(5 / 7)
    assert file["tiers"]["guided"]["weights"]["after"]["sequence"]["mean"]["estimate"] == pytest.approx(math.exp(-0.5))


def test_a_seed_gives_the_same_output_again(path):
    assert run(path, "--json").stdout == run(path, "--json").stdout
    assert run(path, "--json").stdout != run(path, "--json", "--seed", "1").stdout


def test_a_user_error_is_one_line_with_exit_code_two(tmp_path):
    path = write_records(tmp_path / "sft.jsonl", [{"prompt": "a", "response": "b"}])
    result = run(path)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == (
        f"Error: {path}:1: the row has no policy_logprobs; make the file with `mindgap-data rewrite`, or add them with "
        "`mindgap-data score`\n"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read: No such file or directory"), ("", "the file has no rows")],
)
def test_a_missing_or_empty_file_is_named(tmp_path, content, message):
    path = tmp_path / "x.jsonl"
    if content is not None:
        path.write_text(content)
    result = run(path)
    assert (result.exit_code, result.stderr) == (2, f"Error: {path}: {message}\n")
