"""What the tests against a real vLLM share: its environment, its server, and the log-probs it should return."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
START_SECONDS = 300


def vllm_python() -> str:
    """The interpreter that has vLLM, which lives in an environment of its own; skips the test without one."""
    python = Path(os.environ.get("MINDGAP_VLLM_PYTHON", ROOT / ".venv-vllm" / "bin" / "python"))
    if not python.exists():
        pytest.skip(f"no vLLM: {python} does not exist; `make e2e` builds it, or set MINDGAP_VLLM_PYTHON")
    return str(python)


def vllm_environ() -> dict[str, str]:
    """Environment of a vLLM process on a CPU: small cache, no compilation, no network."""
    return {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "TORCH_COMPILE_DISABLE": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "PYTHONPATH": str(ROOT / "tests" / "support"),
    }


@contextmanager
def vllm_servers(model: Path, *logprobs_modes: str) -> Iterator[list[str]]:
    """vLLM's OpenAI server on ``model``, one for each mode; yields their base URLs."""
    processes, urls = [], []
    try:
        for mode in logprobs_modes:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            # The module, because `vllm serve` of the CPU package looks for a distribution named vllm.
            command = [vllm_python(), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
            command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager"]
            # Seeded draws of chunked prompts end vLLM 0.32 on a CPU.
            command += [
                "--no-enable-chunked-prefill",
                "--max-model-len",
                "512",
                "--logprobs-mode",
                mode,
                "--served-model-name",
                "policy",
            ]
            log = (model / f"{mode}.log").open("w")
            processes.append(subprocess.Popen(command, env=vllm_environ(), stdout=log, stderr=subprocess.STDOUT))
            urls.append(f"http://127.0.0.1:{port}/v1")
        for process, url in zip(processes, urls, strict=True):
            _wait_until_healthy(process, url.removesuffix("/v1") + "/health")
        yield urls
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=60)


def _wait_until_healthy(process: subprocess.Popen, url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "vLLM's server ended before it was ready"
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.5)
    raise AssertionError("vLLM's server did not become ready")


def expected_logprobs(
    model: Any, prompt: Sequence[int], response: Sequence[int], *, temperature: float = 1.0, top_p: float = 1.0
) -> np.ndarray:
    """Log-probs of ``response`` in float64: a full forward by transformers, then the textbook transformations."""
    import torch

    with torch.inference_mode():
        logits = model(torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1].numpy().astype(np.float64)
    probabilities = _softmax(logits / temperature)
    order = np.argsort(-probabilities, axis=-1)
    ranked = np.take_along_axis(probabilities, order, axis=-1)
    # The nucleus: the likeliest tokens until their mass reaches top_p, the one that reaches it included.
    outside = np.cumsum(ranked, axis=-1) - ranked >= top_p
    np.put_along_axis(probabilities, order, np.where(outside, 0.0, ranked), axis=-1)
    probabilities /= probabilities.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore"):
        return np.log(probabilities[np.arange(len(response)), list(response)])


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)
