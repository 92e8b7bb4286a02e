"""Commands on remote paths: the bytes of local ones, and a result that cannot be sent is kept and sent later."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import fake_s3
from mindgap_data.commands import main
from tiny import save_tiny_model

pytest.importorskip("s3fs", reason="s3fs is not installed")

ROWS = [{"id": f"p{n}", "problem": f"{n} + {n}?", "solution": f"\\boxed{{{2 * n}}}"} for n in range(6)]
LINES = "".join(json.dumps(row) + "\n" for row in [*ROWS, {"id": "bad"}])
OPTIONS = ("--verifier", "verdicts:by_length", "--max-tokens", "16", "--samples", "2", "--batch-size", "4", "--quiet")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_model(tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[fake_s3.Bucket]:
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").write_text(LINES)
    with fake_s3.serve() as bucket:
        fake_s3.log_in(bucket, monkeypatch)
        bucket.files["in.jsonl"] = LINES.encode()
        yield bucket


def run(*args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, args, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def unsent() -> set[str]:
    return {str(path) for path in Path(".mindgap").rglob("*") if path.is_file()}


def test_a_run_between_remote_files_gives_the_bytes_of_a_local_one(bucket: fake_s3.Bucket, model: str) -> None:
    run("rewrite", "in.jsonl", "-o", "out.jsonl", "--model", model, *OPTIONS)
    result = run("rewrite", "s3://bucket/in.jsonl", "-o", "s3://bucket/runs/out.jsonl", "--model", model, *OPTIONS)
    assert result.stdout.startswith("s3://bucket/runs/out.jsonl: 6 rows\n")
    assert result.stdout.endswith("1 rows failed, with reasons: s3://bucket/runs/out.failed.jsonl\n")
    assert bucket.files["runs/out.jsonl"] == Path("out.jsonl").read_bytes()
    assert bucket.files["runs/out.failed.jsonl"] == Path("out.failed.jsonl").read_bytes()
    assert json.loads(bucket.files["runs/out.jsonl.summary.json"])["rewritten"] == 6
    assert unsent() == set()
    again = ("rewrite", "s3://bucket/in.jsonl", "-o", "s3://bucket/runs/out.jsonl", "--model", model, *OPTIONS)
    assert run(*again, code=2).stderr == (
        "Error: s3://bucket/runs/out.jsonl: the output exists; choose another with -o, or pass --overwrite\n"
    )
    run("score", "s3://bucket/runs/out.jsonl", "-o", "s3://bucket/scored.jsonl.gz", "--model", model, "--quiet")
    assert run("validate", "s3://bucket/scored.jsonl.gz").stdout.startswith("s3://bucket/scored.jsonl.gz: 6 rows")
    run("select", "s3://bucket/runs/out.jsonl", "-o", "s3://bucket/grid")
    run("select", "out.jsonl", "-o", "grid")
    for path in Path("grid").iterdir():
        assert bucket.files[f"grid/{path.name}"] == path.read_bytes()


def test_a_result_that_is_not_taken_is_sent_by_the_next_run_without_drawing(bucket: fake_s3.Bucket, model: str) -> None:
    run("rewrite", "in.jsonl", "-o", "out.jsonl", "--model", model, *OPTIONS)
    command = ("rewrite", "s3://bucket/in.jsonl", "-o", "s3://bucket/out.jsonl", "--model", model, *OPTIONS)
    bucket.refused.add("out.jsonl")
    assert run(*command, code=2).stderr == (
        "Error: s3://bucket/out.jsonl: cannot be written: AccessDenied; "
        "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; "
        "the finished file is .mindgap/s3/bucket/out.jsonl, and the same command sends it again\n"
    )
    assert Path(".mindgap/s3/bucket/out.jsonl").read_bytes() == Path("out.jsonl").read_bytes()
    bucket.refused.clear()
    run(*command)
    assert bucket.files["out.jsonl"] == Path("out.jsonl").read_bytes()
    summary = json.loads(bucket.files["out.jsonl.summary.json"])
    assert summary["requests_recalled"] > 0
    assert summary["tokens_per_second"] == 0
    assert unsent() == set()


def test_where_a_remote_path_has_no_place(bucket: fake_s3.Bucket, model: str) -> None:
    assert run("evaluate", "in.jsonl", "-o", "s3://bucket/e", code=2).stderr.endswith(
        "Error: Invalid value for '-o' / '--output': s3://bucket/e: must be a path on this machine\n"
    )
    assert run("retry", "in.jsonl", "-o", "s3://bucket/out.jsonl", "--model", model, code=2).stderr == (
        "Error: s3://bucket/out.jsonl: retry changes an output on this machine; copy it and its summary here\n"
    )
    fresh = ("rewrite", "in.jsonl", "-o", "s3://bucket/out.jsonl", "--model", model, *OPTIONS)
    bucket.denied.add("out.jsonl")
    assert run(*fresh, code=2).stderr == (
        "Error: s3://bucket/out.jsonl: cannot be read: Forbidden; "
        "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY\n"
    )
