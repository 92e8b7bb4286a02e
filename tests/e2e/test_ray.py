"""Runs on a real Ray cluster of two nodes write the files that one process writes."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mindgap_data.commands import main
from mindgap_data.engines import Sampling
from mindgap_data.engines.open import EngineSettings, Policy
from mindgap_data.policy.models import ModelSpec
from mindgap_data.rewrite.guided import GuidedPrompt
from mindgap_data.rewrite.job import RewriteRequest
from mindgap_data.rewrite.stages import RewriteOptions
from mindgap_data.rows.inputs import InputRows
from mindgap_data.rows.shapes import Fields
from mindgap_data.rows.sources import open_source
from mindgap_data.run.cluster.run import ClusterOptions, run_work
from mindgap_data.run.job import RunFiles, RunOptions
from mindgap_data.verify.settings import VerifierSettings
from tiny import save_tiny_model

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1] / "support")  # where the nodes find the verifier
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    cluster.add_node(num_cpus=2)
    yield str(cluster.address)
    cluster.shutdown()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows = [
        {"id": f"p{n}", "problem": f"{n} + {n}?", "solution": f"It is \\boxed{{{chr(97 + n % 26)}}}"} for n in range(24)
    ]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows[:9], rows[3], {"bad": 1}, *rows[9:]]))
    return path


def test_a_rewriting_run_has_the_bytes_of_one_process(address: str, model: Path, source: Path, tmp_path: Path) -> None:
    # In float64 a log-prob to six decimals does not depend on what shared its batch; stops end some responses early.
    spec = ModelSpec(str(model), dtype="float64", stops=tuple("abcdefghijklmnop"))
    request = RewriteRequest(
        rows=InputRows(open_source(str(source)), Fields()),
        policy=Policy(spec, EngineSettings("transformers")),
        sampling=Sampling(max_tokens=8),
        verifier=VerifierSettings("none", workers=1),
        options=RewriteOptions(("self", "guided", "expert"), 2, "first", (GuidedPrompt(),), True, seed=3),
    )
    plain, cluster = RunFiles.beside(tmp_path / "plain.jsonl"), RunFiles.beside(tmp_path / "ray.jsonl")
    _, expected = run_work(request, None, RunOptions(plain, quiet=True))
    _, result = run_work(request, ClusterOptions(address, 2), RunOptions(cluster, quiet=True))
    assert cluster.output.read_bytes() == plain.output.read_bytes()
    assert cluster.failed.read_bytes() == plain.failed.read_bytes()
    assert not cluster.cluster.exists()
    one, other = (json.loads(files.summary.read_text()) for files in (plain, cluster))
    assert {row["tier"] for row in lines(plain.output)} == {"self", "guided", "expert"}
    for name in ("rows", "rewritten", "failed", "tiers", "stages", "pass_rate", "draws", "drawn_tokens", "settings"):
        assert one[name] == other[name], name
    assert sum(replica["rows"] for replica in other["replicas"]) == 26
    assert result.written == expected.written == 24


def invoke(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result


def test_score_and_evaluate_do_as_in_one_process(address: str, model: Path, source: Path, tmp_path: Path) -> None:
    on_ray = ["--ray", address, "--replicas", "1", "--quiet"]
    asked = ["--model", str(model), "--max-context", "64"]
    for name, where in (("plain", ["--quiet"]), ("ray", on_ray)):
        invoke("score", str(source), "-o", str(tmp_path / f"{name}.jsonl"), *asked, *where)
    scored, expected = (lines(tmp_path / f"{name}.jsonl") for name in ("ray", "plain"))
    assert len(scored) == 25
    for one, other in zip(scored, expected, strict=True):
        assert one.pop("policy_logprobs") == pytest.approx(other.pop("policy_logprobs"), abs=2e-6)
        assert one == other

    problems = tmp_path / "bench.jsonl"
    problems.write_text("".join(json.dumps({"problem": f"{n}?", "answer": "e"}) + "\n" for n in range(8)))
    drawing = ["--samples", "2", "--max-tokens", "5", "--verifier", "letters:holds", "--workers", "1"]
    for name, where in (("plain", ["--quiet"]), ("ray", on_ray)):
        invoke("evaluate", str(problems), "-o", str(tmp_path / name), *asked, *drawing, *where)
    assert lines(tmp_path / "ray/generations.jsonl") == lines(tmp_path / "plain/generations.jsonl")
    again = CliRunner().invoke(main, ["evaluate", str(problems), "-o", str(tmp_path / "ray"), *asked, *on_ray])
    assert again.exit_code == 2
    assert again.output == (
        f"Error: {tmp_path / 'ray'}: holds a finished evaluation; show it without --ray, choose another -o, "
        "or pass --overwrite\n"
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
