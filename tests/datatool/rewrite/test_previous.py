"""A later round: what the moved policy still finds likely is kept, the rest drawn again, and rows remember it all."""

import json
import statistics
from collections.abc import Sequence
from math import exp
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mindgap_data.commands import main
from mindgap_data.record import Record, record_error
from mindgap_data.run.journal import Journal
from rewritten import prompt_ids, score, write_rows
from tiny import save_tiny_model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny model, and the same after its weights have moved a little."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("models")
    first = save_tiny_model(folder / "model")
    model = AutoModelForCausalLM.from_pretrained(first, dtype=torch.float32)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1 + 0.1 * torch.randn_like(weight))
    model.save_pretrained(folder / "moved")
    AutoTokenizer.from_pretrained(first).save_pretrained(folder / "moved")
    return first, folder / "moved"


@pytest.fixture(scope="module")
def first_round(models: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of 32 problems, in.jsonl, rewritten by the first model: out.jsonl."""
    folder = tmp_path_factory.mktemp("rounds")
    rows = [{"id": f"p{n}", "problem": f"{n} + {n}?", "solution": f"\\boxed{{{2 * n}}}"} for n in range(32)]
    write_rows(folder / "in.jsonl", rows)
    assert rewrite(folder, models[0], folder / "out.jsonl").exit_code == 0
    return folder


def rewrite(folder: Path, model: Path, output: Path, *more: str) -> Result:
    fixed = ["--verifier", "verdicts:by_length", "--max-tokens", "24", "--samples", "2", "--batch-size", "8", "--quiet"]
    arguments = ["rewrite", str(folder / "in.jsonl"), "--model", str(model), "-o", str(output), *fixed, *more]
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def ratios(model: Path, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """exp(mean(log pi - behaviour)) by id, by a plain forward pass of one row and a softmax in float64."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    policy = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    found = {}
    for row in rows:
        now = score(policy, prompt_ids(tokenizer, row["messages"][:-1]), row["response_token_ids"])
        differences = [a - b for a, b in zip(now, row["behavior_logprobs"], strict=True)]
        found[row["id"]] = exp(sum(differences) / len(differences))
    return found


def test_likely_responses_are_kept_rescored_and_the_rest_drawn_again(
    models: tuple[Path, Path], first_round: Path, tmp_path: Path
) -> None:
    before = {row["id"]: row for row in read(first_round / "out.jsonl")}
    own = {row["id"] for row in before.values() if row["tier"] == "self"}
    wanted = ratios(models[1], [row for row in before.values() if row["tier"] != "expert"])
    # Half of the self rows lie within.
    bound = statistics.median(max(wanted[name], 1 / wanted[name]) for name in own) * 1.0001
    options = ("--previous", str(first_round / "out.jsonl"), "--keep-within", str(bound))
    result = rewrite(first_round, models[1], tmp_path / "out.jsonl", *options)
    assert result.exit_code == 0, result.output

    after = {row["id"]: row for row in read(tmp_path / "out.jsonl")}
    assert list(after) == list(before)
    likely = {name for name, ratio in wanted.items() if 1 / bound <= ratio <= bound}
    kept = {name for name, row in after.items() if "drawn_in" in row["provenance"]}
    assert 0 < len(own & likely) < len(own)
    assert kept & own == own & likely
    # A guided row is a self row first, if the policy can; only then is its earlier response looked at.
    guided = {name for name, row in before.items() if row["tier"] == "guided"}
    assert kept & guided == {name for name in guided & likely if after[name]["tier"] != "self"}
    assert not kept - own - guided
    risen = [name for name, row in after.items() if row["tier"] == "self" and name not in own]
    assert risen, "no guided or expert row became a self row"

    now = ratios(models[1], [after[name] for name in kept])
    revision = {name: json.loads(json.dumps(row["provenance"])) for name, row in after.items()}
    for name, row in after.items():
        earlier, provenance = before[name], revision[name]
        assert record_error(row) is None
        assert provenance["round"] == 1
        (history,) = provenance["rounds"]
        assert (history["round"], history["tier"], history["attempts"]) == (0, earlier["tier"], earlier["attempts"])
        assert history["model"] == str(models[0])
        if history.get("ratio") is not None:
            assert history["ratio"] == pytest.approx(wanted[name], rel=1e-4)
        if name in kept:
            same = ("messages", "response_token_ids", "behavior_logprobs", "tier")
            assert [row[field] for field in same] == [earlier[field] for field in same]
            assert now[name] == pytest.approx(wanted[name], rel=1e-4)
            assert provenance["drawn_in"] == 0
            assert (provenance["model"], provenance["policy"]["model"]) == (str(models[0]), str(models[1]))
        else:
            assert provenance["model"] == str(models[1])
            assert row["tier"] == "expert" or row["response_token_ids"] != earlier["response_token_ids"]
    summary = json.loads((tmp_path / "out.jsonl.summary.json").read_text())
    assert summary["kept"] == len(kept)
    drawn = sum(
        counts["sampled"]
        for name, row in after.items()
        for stage, counts in row["attempts"].items()
        if stage in ("self", "guided") and not (name in kept and stage == row["tier"])
    )
    assert summary["draws"] == drawn
    # One policy's log-probs throughout, whoever drew: the gap can be measured.
    measured = CliRunner().invoke(main, ["gap", str(tmp_path / "out.jsonl"), "--json"], catch_exceptions=False)
    assert measured.exit_code == 0, measured.output


def test_a_policy_that_has_not_moved_keeps_every_self_row_and_a_third_round_knows_both(
    models: tuple[Path, Path], first_round: Path, tmp_path: Path
) -> None:
    second, third = tmp_path / "2.jsonl", tmp_path / "3.jsonl"
    assert rewrite(first_round, models[0], second, "--previous", str(first_round / "out.jsonl")).exit_code == 0
    assert rewrite(first_round, models[0], third, "--previous", str(second)).exit_code == 0
    for one, two, row in zip(read(first_round / "out.jsonl"), read(second), read(third), strict=True):
        provenance = Record.from_row(row).provenance
        assert [(was.round, was.tier) for was in provenance.rounds or []] == [(0, one["tier"]), (1, two["tier"])]
        if one["tier"] == "self":
            assert row["response_token_ids"] == one["response_token_ids"]
            assert (provenance.round, provenance.drawn_in) == (2, 0)
            assert row["policy_logprobs"] == pytest.approx(one["policy_logprobs"], abs=1e-4)
    # The draws of a later round are others: what failed with the same random numbers would fail again.
    redrawn = [
        (one["response_token_ids"], two["response_token_ids"])
        for one, two in zip(read(first_round / "out.jsonl"), read(second), strict=True)
        if one["tier"] == two["tier"] == "guided" and "drawn_in" not in two["provenance"]
    ]
    assert all(a != b for a, b in redrawn)


@pytest.mark.parametrize("lines", [2, 5, 12])
def test_a_later_round_stopped_and_run_again_gives_the_same_bytes(
    models: tuple[Path, Path], first_round: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: int
) -> None:
    monkeypatch.setattr(Journal, "remove", Journal.close)  # what a kill leaves behind, once the rest is cut off
    output, journal = tmp_path / "out.jsonl", tmp_path / "out.jsonl.journal"
    previous = ("--previous", str(first_round / "out.jsonl"))
    assert rewrite(first_round, models[1], output, *previous).exit_code == 0
    undisturbed = output.read_bytes()
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:lines]))
    output.unlink()
    assert rewrite(first_round, models[1], output, *previous).exit_code == 0
    assert output.read_bytes() == undisturbed
    assert json.loads((tmp_path / "out.jsonl.summary.json").read_text())["requests_recalled"] > 0


def test_the_parts_of_a_later_round_are_its_rows(models: tuple[Path, Path], first_round: Path, tmp_path: Path) -> None:
    previous = ("--previous", str(first_round / "out.jsonl"), "--keep-within", "4")
    assert rewrite(first_round, models[1], tmp_path / "whole.jsonl", *previous).exit_code == 0
    parts = [str(tmp_path / f"part-{n}.jsonl") for n in (1, 2)]
    for n, part in enumerate(parts, start=1):
        assert rewrite(first_round, models[1], Path(part), *previous, "--shard", f"{n}/2").exit_code == 0
    merged = tmp_path / "merged.jsonl"
    arguments = ["merge", str(first_round / "in.jsonl"), *parts, "-o", str(merged)]
    assert CliRunner().invoke(main, arguments, catch_exceptions=False).exit_code == 0
    same = ("id", "tier", "response_token_ids", "attempts")
    whole, together = (
        [[row[name] for name in same] for row in read(tmp_path / f"{n}.jsonl")] for n in ("whole", "merged")
    )
    assert together == whole
    kept = [json.loads((tmp_path / f"{n}.jsonl.summary.json").read_text())["kept"] for n in ("whole", "merged")]
    assert kept[0] == kept[1] > 0


def changed(row: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**row, **fields}


def with_prompt(row: dict[str, Any], text: str) -> dict[str, Any]:
    return changed(row, messages=[{"role": "user", "content": text}, row["messages"][-1]])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda rows: [*rows, changed(rows[0], id="q")],
            "{file}:33: row 'q' is not in {input}, or not in this order; give the input and the --limit of the round "
            "before",
        ),
        (
            lambda rows: [rows[1], rows[0], *rows[2:]],
            "{file}:2: row 'p0' is not in {input}, or not in this order; give the input and the --limit of the round "
            "before",
        ),
        (
            lambda rows: [rows[0], with_prompt(rows[1], "1 + 1? Be brief."), *rows[2:]],
            "{file}:2: row 'p1' has another prompt or answer than in {input}; give the input and the --instruction of "
            "the round before",
        ),
        (
            lambda rows: [changed(rows[0], tools='[{"type": "function"}]'), *rows[1:]],
            "{file}:1: row 'p0' has another prompt or answer than in {input}; give the input and the --instruction of "
            "the round before",
        ),
        (
            lambda rows: [changed(rows[0], answer="7"), *rows[1:]],
            "{file}:1: row 'p0' has another prompt or answer than in {input}; give the input and the --instruction of "
            "the round before",
        ),
        (
            lambda rows: [{"problem": "1?", "solution": "1"}],
            "{file}:1: the row has no policy_logprobs; make the file with `mindgap-data rewrite`, or add them with "
            "`mindgap-data score`",
        ),
        (
            lambda rows: [*rows[:3], changed(rows[3], provenance={**rows[3]["provenance"], "tokenizer": "other"})],
            "{file}:4: provenance.tokenizer is another than in line 1",
        ),
        (
            lambda rows: [changed(row, provenance={**row["provenance"], "tokenizer": "other"}) for row in rows],
            "{file}: provenance.tokenizer is other, this model's is {tokenizer}: ids or prompts differ; use the model "
            "of the round before, or leave out --previous",
        ),
    ],
)  # fmt: skip
def test_a_file_that_is_no_round_of_this_input_is_one_line(
    models: tuple[Path, Path], first_round: Path, tmp_path: Path, edit: Any, message: str
) -> None:
    rows = read(first_round / "out.jsonl")
    file = write_rows(tmp_path / "other.jsonl", edit(rows))
    result = rewrite(first_round, models[0], tmp_path / "out.jsonl", "--previous", str(file))
    expected = message.format(file=file, input=first_round / "in.jsonl", tokenizer=rows[0]["provenance"]["tokenizer"])
    assert (result.exit_code, result.stderr) == (2, f"Error: {expected}\n")
    assert not (tmp_path / "out.jsonl").exists()


def test_the_wrong_options_beside_a_previous_round_are_one_line(
    models: tuple[Path, Path], first_round: Path, tmp_path: Path
) -> None:
    file = first_round / "out.jsonl"
    result = rewrite(first_round, models[0], tmp_path / "out.jsonl", "--previous", str(file), "--round", "0")
    assert (result.exit_code, result.stderr) == (2, f"Error: --round 0: {file} is of round 0; leave out --round\n")
    result = rewrite(first_round, models[0], file, "--previous", str(file), "--overwrite")
    expected = f"Error: {file}: cannot be the output and --previous at once; choose another -o\n"
    assert (result.exit_code, result.stderr) == (2, expected)
    missing = tmp_path / "none.jsonl"
    result = rewrite(first_round, models[0], tmp_path / "out.jsonl", "--previous", str(missing))
    assert (result.exit_code, result.stderr) == (2, f"Error: {missing}: no such file\n")


def test_an_unfinished_round_is_not_continued_from_another_file(
    models: tuple[Path, Path], first_round: Path, tmp_path: Path
) -> None:
    output, file = tmp_path / "out.jsonl", tmp_path / "previous.jsonl"
    rows = read(first_round / "out.jsonl")
    write_rows(file, rows)
    assert rewrite(first_round, models[1], output, "--previous", str(file)).exit_code == 0
    # As a kill leaves it: a journal with the settings of the run, and no output.
    summary = json.loads((tmp_path / "out.jsonl.summary.json").read_text())
    (tmp_path / "out.jsonl.journal").write_text(json.dumps({"journal": 1, "settings": summary["settings"]}) + "\n")
    output.unlink()
    write_rows(file, rows[:-1])
    result = rewrite(first_round, models[1], output, "--previous", str(file), "--keep-within", "2")
    was = summary["settings"]["previous"]
    assert result.exit_code == 2
    assert result.stderr.startswith(
        f'Error: {output}.journal: an unfinished run with other settings (previous was {json.dumps(was)}, now "sha256:'
    )
    assert "; keep_within was 1.25, now 2.0);" in result.stderr
