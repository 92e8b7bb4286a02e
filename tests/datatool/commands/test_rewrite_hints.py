"""`mindgap-data rewrite` with a ladder of hints, and with importance resampling, on a random model."""

import json
import math
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from killed import run_killed
from mindgap_data.commands import main
from mindgap_data.engines.logprobs import response_logprobs
from mindgap_data.policy.models import ModelSpec, load_model, load_tokenizer
from mindgap_data.rewrite.guided import GuidedPrompt
from tiny import save_tiny_model

LADDER = ("--hints", "answer,partial,full")
SIR = ("--pick-guided", "sir")
STAGES = {"answer": "guided_answer", "partial": "guided_partial", "full": "guided"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    """Rows whose solution has a first part that does not give the answer away."""
    path = tmp_path / "in.jsonl"
    solution = "There are two heaps of equal size here. We put them together. That makes \\boxed{{{}}}."
    rows = [{"id": f"p{n}", "problem": f"{n} + {n}?", "solution": solution.format(2 * n)} for n in range(11, 35)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def arguments(source: Path, model: Path, output: Path, *more: str) -> list[str]:
    fixed = ["--verifier", "verdicts:by_length", "--max-tokens", "48", "--samples", "2", "--batch-size", "8", "--quiet"]
    return ["rewrite", str(source), "--model", str(model), "-o", str(output), *fixed, *more]


def invoke(*args: str) -> Result:
    return CliRunner().invoke(main, list(args), catch_exceptions=False)


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_ladder_is_climbed_and_the_log_probs_are_of_the_hint_shown(
    model: Path, problems: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"
    assert invoke(*arguments(problems, model, output, *LADDER, "--samples", "1")).exit_code == 0
    rows = read_rows(output)
    guided = [row for row in rows if row["tier"] == "guided"]
    found = Counter(row["hint"] for row in guided)
    assert set(found) == {"answer", "partial", "full"}, "every step of the ladder must be reached here"
    assert json.loads((tmp_path / "out.jsonl.summary.json").read_text())["hints"] == dict(found)
    policy, tokenizer = load_model(ModelSpec(str(model))), load_tokenizer(ModelSpec(str(model)))
    for row in guided:
        # Each step before the one that succeeded was tried, and none after it.
        tried = [stage for stage in STAGES.values() if row["attempts"].get(stage)]
        assert tried == list(STAGES.values())[: list(STAGES).index(row["hint"]) + 1]
        assert [row["attempts"][stage]["correct"] for stage in tried] == [0] * (len(tried) - 1) + [1]
        shown = GuidedPrompt(row["hint"]).messages(row["messages"][:-1], row["expert"], row["answer"])
        assert shown is not None
        sampled = response_logprobs(policy, [(tokenizer.prompt_ids(shown), row["response_token_ids"])])[0]
        assert row["behavior_logprobs"] == pytest.approx(sampled, abs=1e-4)


def test_resampling_draws_all_and_records_the_weights_of_the_correct_draws(
    model: Path, problems: Path, tmp_path: Path
) -> None:
    assert invoke(*arguments(problems, model, tmp_path / "out.jsonl", *SIR, "--samples", "4")).exit_code == 0
    guided = [row for row in read_rows(tmp_path / "out.jsonl") if row["tier"] == "guided"]
    assert any(len(row["attempts"]["resampling"]["log_weights"]) > 1 for row in guided)
    for row in guided:
        counts, found = row["attempts"]["guided"], row["attempts"]["resampling"]
        assert row["provenance"]["selection"] == "sir"
        assert (counts["sampled"], counts["correct"]) == (4, len(found["log_weights"]))
        weight = math.fsum(row["policy_logprobs"]) - math.fsum(row["behavior_logprobs"])
        assert found["log_weights"][found["chosen"]] == pytest.approx(weight, abs=1e-3)
        weights = [math.exp(one) for one in found["log_weights"]]
        assert found["mean"] == pytest.approx(sum(weights) / 4, rel=1e-6)
        assert found["ess"] == pytest.approx(sum(weights) ** 2 / sum(one * one for one in weights), rel=1e-6)


def test_require_working_keeps_no_bare_answer(model: Path, problems: Path, tmp_path: Path) -> None:
    outputs = {name: tmp_path / f"{name}.jsonl" for name in ("lenient", "strict")}
    assert invoke(*arguments(problems, model, outputs["lenient"], "--max-tokens", "12")).exit_code == 0
    strict = arguments(problems, model, outputs["strict"], "--max-tokens", "12", "--require-working")
    assert invoke(*strict).exit_code == 0
    lenient, strict_rows = (read_rows(path) for path in outputs.values())
    assert any(row["tier"] == "guided" for row in lenient)
    assert not any(row["tier"] == "guided" for row in strict_rows), "twelve random bytes are no working"
    bare = [row["attempts"]["guided"].get("bare", 0) for row in strict_rows if row["attempts"].get("guided")]
    assert sum(bare) >= sum(row["tier"] == "guided" for row in lenient)


def test_a_power_without_resampling_is_one_line(model: Path, problems: Path, tmp_path: Path) -> None:
    result = invoke(*arguments(problems, model, tmp_path / "out.jsonl", "--sir-power", "0.5"))
    expected = "Error: --sir-power 0.5 is for --pick-guided sir; add that, or leave it out\n"
    assert (result.exit_code, result.stderr) == (2, expected)


@pytest.mark.e2e
@pytest.mark.parametrize("options", [SIR, LADDER], ids=["sir", "ladder"])
def test_killed_half_way_and_run_again_gives_the_same_bytes(
    model: Path, problems: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    undisturbed, killed = tmp_path / "undisturbed.jsonl", tmp_path / "killed.jsonl"
    assert invoke(*arguments(problems, model, undisturbed, *options)).exit_code == 0
    assert any(row["tier"] == "guided" for row in read_rows(undisturbed))
    program = [sys.executable, "-c", "from mindgap_data.commands import main; main()"]
    command = [*program, *arguments(problems, model, killed, *options)]
    process = run_killed(command, tmp_path / "killed.jsonl.journal", 3, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not killed.exists()
    assert invoke(*arguments(problems, model, killed, *options)).exit_code == 0
    assert killed.read_bytes() == undisturbed.read_bytes()
