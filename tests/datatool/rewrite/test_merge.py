"""Shards run in any order and merged are the bytes of one run; what does not fit together is refused by name."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from characters import InstantEngine
from mindgap_data.commands import main
from mindgap_data.engines import Sampling
from mindgap_data.engines.open import EngineSettings, Policy
from mindgap_data.policy.models import ModelSpec
from mindgap_data.record import TIERS
from mindgap_data.rewrite.guided import GuidedPrompt
from mindgap_data.rewrite.job import RewriteJob, RewriteRequest
from mindgap_data.rewrite.stages import RewriteOptions
from mindgap_data.rows.inputs import InputRows
from mindgap_data.rows.shapes import Fields
from mindgap_data.rows.sources import open_source
from mindgap_data.run.job import RunFiles, RunOptions, execute
from mindgap_data.run.shards import Shard
from mindgap_data.verify.pool import VerifierPool
from mindgap_data.verify.settings import VerifierSettings

COUNT = 8


def answer(prompt: str) -> str:
    """Even problems are solved, odd ones only with the solution shown, those of three digits never."""
    number = prompt.split("number ")[1].split("?")[0]
    solved = len(number) < 3 and (int(number) % 2 == 0 or "teacher" in prompt)
    return f"It is {number}" if solved else "It is -1"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows = [json.dumps({"id": f"r{n}", "problem": f"The number {n}?", "solution": f"#### {n}"}) for n in range(80, 120)]
    lines = [*rows[:10], "not json", "", rows[3], *rows[10:], '{"problem": "no solution"}']
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def rewrite(source: Path, output: Path, pool: VerifierPool, shard: Shard | None = None, seed: int = 0) -> Path:
    engine = InstantEngine(answer)
    options = RewriteOptions(TIERS, 2, "first", (GuidedPrompt(),), score_expert=True, seed=seed)
    policy = Policy(ModelSpec(), EngineSettings())
    rows = InputRows(open_source(str(source)), Fields())
    request = RewriteRequest(rows, policy, Sampling(), VerifierSettings("numeric"), options, shard)
    execute(RewriteJob(request, engine), engine, pool, RunOptions(RunFiles.beside(output), quiet=True))
    return output


@pytest.fixture
def shards(source: Path, tmp_path: Path, pool: VerifierPool) -> list[Path]:
    order = [*range(1, COUNT + 1), 2, 5]  # some twice
    random.Random(0).shuffle(order)
    return sorted({rewrite(source, tmp_path / f"part-{n}.jsonl", pool, Shard(n, COUNT)) for n in order})


def merge(*arguments: Any) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["merge", *map(str, arguments)], catch_exceptions=False)
    return result.exit_code, result.output


def test_shards_merged_are_the_bytes_of_one_run(
    source: Path, shards: list[Path], tmp_path: Path, pool: VerifierPool
) -> None:
    whole = RunFiles.beside(rewrite(source, tmp_path / "whole.jsonl", pool))
    merged = RunFiles.beside(tmp_path / "merged.jsonl")
    code, output = merge(source, *reversed(shards), "-o", merged.output)
    assert (code, output) == (
        0,
        f"{merged.output}: 40 rows from 8 shards\n3 rows failed, with reasons: {merged.failed}\n",
    )
    assert merged.output.read_bytes() == whole.output.read_bytes()
    assert merged.failed.read_bytes() == whole.failed.read_bytes()
    figures, expected = (json.loads(files.summary.read_text()) for files in (merged, whole))
    assert figures["tiers"] == expected["tiers"]
    assert all(figures["tiers"].values()), "every tier must occur"
    same = ("rows", "rewritten", "failed", "stages", "draws", "drawn_tokens", "settings")
    assert {name: figures[name] for name in same} == {name: expected[name] for name in same}
    assert figures["pass_rate"] == pytest.approx(expected["pass_rate"])


def test_a_row_belongs_to_exactly_one_shard_and_they_are_about_equal() -> None:
    ids = [f"row {n}" for n in range(4000)]
    sizes = [sum(Shard(n, COUNT).holds(key) for key in ids) for n in range(1, COUNT + 1)]
    assert sum(sizes) == len(ids)
    assert min(sizes) > 400


def test_what_does_not_fit_together_is_refused_by_name(
    source: Path, shards: list[Path], tmp_path: Path, pool: VerifierPool
) -> None:
    out = tmp_path / "merged.jsonl"
    code, output = merge(source, *shards[:2], *shards[3:], "-o", out)
    assert (code, output) == (
        2,
        "Error: shard 3/8 is missing; run `mindgap-data rewrite --shard` for it, or name it\n",
    )
    code, output = merge(source, *shards, shards[0], "-o", out)
    assert (code, output) == (2, f"Error: {shards[0]} and {shards[0]}: both are shard 1/8; leave one out\n")
    other = rewrite(source, tmp_path / "other.jsonl", pool, Shard(8, COUNT), seed=1)
    code, output = merge(source, *shards[:7], other, "-o", out)
    assert (code, output) == (2, f"Error: {other}: other settings than {shards[0]}: seed is 1, there 0\n")
    changed = tmp_path / "changed.jsonl"
    changed.write_text(source.read_text() + '{"problem": "one more"}\n')
    code, output = merge(changed, *shards, "-o", out)
    assert code == 2
    assert output.startswith(f"Error: {changed}: not the input of these shards")
    torn = shards[4].read_text().splitlines(keepends=True)
    shards[4].write_text("".join(torn[1:]))
    code, output = merge(source, *shards, "-o", out)
    assert code == 2
    assert output.startswith(f"Error: {shards[4]}: row 'r")
    assert output.endswith(" is missing; run this shard again\n")
    assert not out.exists()


@pytest.mark.parametrize(
    ("value", "reason"),
    [("3", "give it as I/N, for example 2/8"), ("0/8", "I goes from 1 to N"), ("9/8", "I goes from 1 to N")],
)
def test_a_shard_that_does_not_exist(value: str, reason: str) -> None:
    result = CliRunner().invoke(main, ["rewrite", "in.jsonl", "--shard", value])
    assert result.exit_code == 2
    assert f"{value!r}: {reason}" in result.output
