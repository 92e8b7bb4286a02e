"""`mindgap-data rewrite` through vLLM and through a server, as a user runs it; the log-probs against transformers."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mindgap_data.commands import main
from mindgap_data.engines.logprobs import response_logprobs
from mindgap_data.policy.models import ModelSpec, load_model, load_tokenizer
from mindgap_data.record import record_error
from mindgap_data.rewrite.guided import GuidedPrompt
from tiny import save_tiny_model
from vllm_tools import vllm_environ, vllm_python, vllm_servers

pytestmark = pytest.mark.e2e

SMALL = ["--verifier", "verdicts:by_length", "--max-tokens", "16", "--samples", "2", "--quiet"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"), head_dim=32)  # what vLLM has CPU kernels for


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    rows = [{"id": f"p{n}", "problem": f"{n} + {n}?", "solution": f"\\boxed{{{2 * n}}}"} for n in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def check(output: Path, model: Path, engine: str) -> None:
    rows: list[dict[str, Any]] = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["id"] for row in rows] == [f"p{n}" for n in range(12)]
    assert {"self", "expert"} <= {row["tier"] for row in rows}
    policy, tokenizer = load_model(ModelSpec(str(model))), load_tokenizer(ModelSpec(str(model)))
    for row in rows:
        assert record_error(row) is None
        assert row["provenance"]["engine"] == engine
        ids, prompt = row["response_token_ids"], row["messages"][:-1]
        plain = response_logprobs(policy, [(tokenizer.prompt_ids(prompt), ids)])[0]
        assert row["policy_logprobs"] == pytest.approx(plain, abs=1e-3)
        if row["tier"] != "expert":
            shown = prompt
            if row["tier"] == "guided":
                shown = GuidedPrompt().messages(prompt, row["expert"], row["answer"])
            sampled = response_logprobs(policy, [(tokenizer.prompt_ids(shown), ids)])[0]
            assert row["behavior_logprobs"] == pytest.approx(sampled, abs=1e-3)


def test_rewrite_with_vllm(model: Path, problems: Path, tmp_path: Path) -> None:
    program = [vllm_python(), "-c", "from mindgap_data.commands import main; main()"]
    options = ["rewrite", str(problems), "--model", str(model), "-o", str(tmp_path / "out.jsonl"), "--engine", "vllm"]
    # Room for two guided prompts at a time: with chunked prefill, seeded draws would end the engine on a CPU.
    engine = [
        "--max-context",
        "512",
        "--engine-arg",
        "enforce_eager=true",
        "--engine-arg",
        "max_num_batched_tokens=900",
    ]
    done = subprocess.run(
        [*program, *options, *engine, *SMALL],
        env=vllm_environ(), capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    check(tmp_path / "out.jsonl", model, "vllm")


def test_rewrite_through_a_server(model: Path, problems: Path, tmp_path: Path) -> None:
    with vllm_servers(model, "processed_logprobs") as (url,):
        options = ["rewrite", str(problems), "--model", str(model), "-o", str(tmp_path / "out.jsonl")]
        server = ["--base-url", url, "--engine-arg", "model=policy", "--api-key", "none"]
        result = CliRunner().invoke(main, [*options, *server, *SMALL], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    check(tmp_path / "out.jsonl", model, "openai")
