"""A user's error crosses the launcher as one line and exit code 2; another error keeps its traceback."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

WORKER = """
    from mindgap_axolotl.launch import quiet_worker
    from mindgap_data.errors import UserError
    quiet_worker()
    raise {error}
"""
LAUNCHER = """
    import subprocess, sys
    from mindgap_axolotl.launch import quiet_launcher
    quiet_launcher()
    subprocess.run([sys.executable, "-c", {worker!r}], check=True)
"""


def launch(error: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A launcher, as accelerate is one, over a worker that fails."""
    code = textwrap.dedent(LAUNCHER).format(worker=textwrap.dedent(WORKER).format(error=error))
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("module", ["axolotl.cli.train", "axolotl.cli.evaluate"])
def test_a_users_error_is_one_line_and_exit_code_2(module: str) -> None:
    done = launch("UserError('x.jsonl: row 3: broken')", "-m", module, "x.yaml")
    assert (done.returncode, done.stderr) == (2, "Error: x.jsonl: row 3: broken\n")


def test_axolotl_evaluate_waits_for_its_launcher_and_is_as_quiet(tmp_path: Path) -> None:
    """`axolotl train` becomes its launcher; `axolotl evaluate` starts it, and would show a failure's traceback."""
    script = tmp_path / "axolotl"
    script.write_text(textwrap.dedent(LAUNCHER).format(worker="raise SystemExit(2)"))
    done = subprocess.run(
        [sys.executable, str(script), "evaluate", "x.yaml"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (2, "")


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        ("ValueError('a fault')", ("-m", "axolotl.cli.train", "x.yaml")),
        # Not a launcher of Axolotl: its errors are none of ours.
        ("UserError('x.jsonl: row 3: broken')", ("-m", "another.program")),
    ],
)
def test_other_failures_keep_the_launchers_traceback(error: str, arguments: tuple[str, ...]) -> None:
    done = launch(error, *arguments)
    assert done.returncode == 1
    assert "CalledProcessError" in done.stderr


def test_torch_calls_it_in_the_launchers_process() -> None:
    """The entry point of the installed package: without it the launcher never hears of us."""
    from importlib.metadata import entry_points

    targets = [entry.value for entry in entry_points(group="torch.backends")]
    assert "mindgap_axolotl.launch:quiet_launcher" in targets, "reinstall: pip install -e ."


def test_its_import_is_light() -> None:
    """torch imports it whenever torch is imported."""
    code = "import sys, mindgap_axolotl.launch; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "axolotl", "transformers", "pydantic", "click"} & set(loaded)
