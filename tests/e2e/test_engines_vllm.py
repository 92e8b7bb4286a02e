"""A real vLLM on the CPU, in its own environment, against transformers' forward pass on the same ids."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindgap_data.policy.models import ModelSpec, load_tokenizer, weights_revision
from refreshing import save_adapter
from tiny import save_tiny_model
from vllm_tools import ROOT, expected_logprobs, vllm_environ, vllm_python

pytestmark = pytest.mark.e2e

SAMPLINGS: list[dict[str, float]] = [{}, {"temperature": 0.7, "top_p": 0.9}]
NOISE = 1e-4  # float32 against float64
QUESTIONS = ["hi", "2 + 3 = ?", "a somewhat longer question about nothing at all"]


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # vLLM's CPU attention wants heads of 32 or more.
    return save_tiny_model(tmp_path_factory.mktemp("tiny"), head_dim=32, sharpness=3.0)


@pytest.fixture(scope="module")
def adapter_paths(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two adapters, and the first one torn."""
    first, second, torn = (tmp_path_factory.mktemp("adapter") for _ in range(3))
    for seed, folder in ((1, first), (2, second), (1, torn)):
        save_adapter(model_path, folder, seed)
    weights = torn / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    return [first, second, torn]


def job(model_path: Path, **more: Any) -> dict[str, Any]:
    tokenizer = load_tokenizer(ModelSpec(model=str(model_path)))
    prompts = [tokenizer.prompt_ids([{"role": "user", "content": question}]) for question in QUESTIONS]
    return {
        "model": str(model_path),
        "adapter": None,
        "refused": [],
        "samplings": SAMPLINGS,
        "draws": [*((prompts[seed % 3], seed, 24) for seed in range(12)), ([5] * 255, 12, 24)],
        "scores": [
            *((prompt, tokenizer.response_ids("The answer is \\boxed{5}.")) for prompt in prompts),
            (prompts[0], [7] * (255 - len(prompts[0]))),  # exactly the context
            (prompts[0], [7] * (256 - len(prompts[0]))),  # one more
        ],
        "kill": False,
        "then": [],
        **more,
    }


def run_in_vllm(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    (folder / "job.json").write_text(json.dumps(asked))
    script = ROOT / "tests" / "e2e" / "run_vllm_engine.py"
    command = [vllm_python(), str(script), str(folder / "job.json"), str(folder / "out.json")]
    done = subprocess.run(command, env=vllm_environ(), capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads((folder / "out.json").read_text())
    return result


REFUSED = [
    (
        {"engine_args": {"data_parallel_size": 2}},
        "--engine-arg data_parallel_size=2: vLLM runs one replica a process; start `vllm serve MODEL "
        "--data-parallel-size 2 --logprobs-mode processed_logprobs` and use --engine openai with its address",
    ),
    (
        {"engine_args": {"tensor_paralel_size": 2}},
        "--engine-arg tensor_paralel_size: vLLM has no such engine argument; `vllm serve --help` lists them",
    ),
    (
        {"engine_args": {"logprobs_mode": "raw_logprobs"}},
        "--engine-arg logprobs_mode: this one is mindgap's own to set; leave it out",
    ),
]


@pytest.fixture(scope="module")
def plain(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    asked = job(model_path, refused=[options for options, _ in REFUSED], kill=True)
    return asked, run_in_vllm(tmp_path_factory.mktemp("plain"), asked)


@pytest.fixture(scope="module")
def adapted(
    model_path: Path, adapter_paths: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], dict[str, Any]]:
    first, second, torn = map(str, adapter_paths)
    asked = job(model_path, adapter=first, then=[second, torn, first])
    return asked, run_in_vllm(tmp_path_factory.mktemp("adapted"), asked)


def reference(model_path: Path, adapter_path: Path | None = None) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float64)
    if adapter_path is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter_path)).double()
    return model.eval()


def assert_agrees(asked: dict[str, Any], got: dict[str, Any], model: Any, end_ids: tuple[int, ...]) -> None:
    """Every log-prob is transformers' on the same ids, and every response ends as it says."""
    for sampling, draws in zip(SAMPLINGS, got["draws"], strict=True):
        for (prompt, _, cap), drawn in zip(asked["draws"][:-1], draws[:-1], strict=True):
            expected = expected_logprobs(model, prompt, drawn["ids"], **sampling)
            np.testing.assert_allclose(drawn["logprobs"], expected, atol=NOISE)
            assert not set(drawn["ids"][:-1]) & set(end_ids)
            assert drawn["finish"] == ("stop" if drawn["ids"][-1] in end_ids else "length")
            assert drawn["finish"] == "stop" or len(drawn["ids"]) == cap
        # Both ways to end must occur, or the two lines above show nothing.
        assert {drawn["finish"] for drawn in draws[:-1]} == {"stop", "length"}
    for (prompt, response), scored in zip(asked["scores"][:-1], got["scores"][:-1], strict=True):
        np.testing.assert_allclose(scored["logprobs"], expected_logprobs(model, prompt, response), atol=NOISE)


def test_logprobs_are_those_of_transformers(plain: Any, model_path: Path) -> None:
    asked, got = plain
    assert_agrees(asked, got, reference(model_path), load_tokenizer(ModelSpec(model=str(model_path))).end_ids)


def test_adapter_is_part_of_the_policy(adapted: Any, plain: Any, model_path: Path, adapter_paths: list[Path]) -> None:
    asked, got = adapted
    end_ids = load_tokenizer(ModelSpec(model=str(model_path))).end_ids
    assert_agrees(asked, got, reference(model_path, adapter_paths[0]), end_ids)
    without = plain[1]["scores"][0]["logprobs"]
    assert np.abs(np.subtract(got["scores"][0]["logprobs"], without)).max() > 0.1


def test_an_adapter_is_exchanged_under_way(adapted: Any, model_path: Path, adapter_paths: list[Path]) -> None:
    """The same prompts as before, which must not be read from the cache of the adapter before; a torn one is named."""
    asked, got = adapted
    first, second, torn = adapter_paths
    end_ids = load_tokenizer(ModelSpec(model=str(model_path))).end_ids
    for after, adapter in zip(got["exchanged"], (second, second, first), strict=True):
        assert_agrees(asked, after, reference(model_path, adapter), end_ids)
    assert [after["error"] and after["error"].partition(": ")[0] for after in got["exchanged"]] == [
        None,
        f"adapter '{torn}'",
        None,
    ]


def test_different_seeds_draw_differently(plain: Any) -> None:
    _, got = plain
    same_prompt = [tuple(drawn["ids"]) for drawn in got["draws"][0][:-1:3]]
    assert len(set(same_prompt)) > 1


def test_too_long_is_a_failure_of_that_request(plain: Any) -> None:
    _, got = plain
    too_long = {"failure": "256 tokens do not fit the context of 255"}
    assert got["scores"][-1] == too_long
    assert [draws[-1] for draws in got["draws"]] == [{"failure": "255 tokens do not fit the context of 255"}] * 2


def test_facts_for_provenance(plain: Any, model_path: Path) -> None:
    _, got = plain
    revision = weights_revision(ModelSpec(model=str(model_path)), reference(model_path))
    assert got["facts"] == {"dtype": "float32", "max_context": 255, "revision": revision}


def test_arguments_that_cannot_be_had_are_refused(plain: Any) -> None:
    _, got = plain
    assert got["refused"] == [message for _, message in REFUSED]


def test_dead_engine_is_one_line(plain: Any) -> None:
    _, got = plain
    assert got["death"].startswith("the vLLM engine died (")
    assert got["death"].endswith("); finished rows are kept, rerun the same command to continue")
