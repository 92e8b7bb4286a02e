"""The pool: limits, lost workers, back-pressure, and the hostile answers."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mindgap_data.errors import UserError
from mindgap_data.verify import Verdict
from mindgap_data.verify.pool import QUEUED_PER_WORKER, VerifierPool

DATA = Path(__file__).parents[2] / "data"
HARD = r"\boxed{\sqrt{8}}", r"2\sqrt{2}"  # nothing the fast path settles


# --- verifiers that misbehave on demand, run in workers by their module's name --------------------


def misbehaving(response: str, answer: str, row: Mapping[str, Any]) -> Verdict:
    match response:
        case "hang":
            time.sleep(60)
        case "spin":
            while True:
                pass
        case "memory":
            return Verdict(str(len(bytearray(10**11))))
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "die once":
            marker = Path(answer)
            if not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise ValueError("no")
        case "exit":
            sys.exit(0)
        case "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        case "print":
            print("noise")
            print("noise", file=sys.stderr)
        case "nonsense":
            return "maybe"  # type: ignore[return-value]
        case "modules":
            heavy = {"torch", "transformers", "vllm"} & set(sys.modules)
            return Verdict.WRONG if heavy else Verdict.CORRECT
    return Verdict.CORRECT


def responses() -> Iterator[dict[str, Any]]:
    for line in (DATA / "hostile_answers.jsonl").read_text().splitlines():
        row = json.loads(line)
        row.setdefault("response", "".join(text * times for text, times in row.get("repeat", [])))
        yield row


@pytest.fixture(scope="module")
def misbehaving_pool() -> Iterator[VerifierPool]:
    # Workers import the verifier by name, so its directory must be on their path.
    here = str(Path(__file__).parent)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = here
    sys.path.insert(0, here)
    with VerifierPool("test_pool:misbehaving", timeout=1.0, workers=2) as pool:
        yield pool
    sys.path.remove(here)
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.mark.parametrize("response", ["hang", "spin", "memory", "die", "raise", "exit", "nonsense"])
def test_misbehaviour_is_a_checker_error_and_harms_no_neighbour(misbehaving_pool: VerifierPool, response: str) -> None:
    neighbours = [misbehaving_pool.submit("fine", "", {}) for _ in range(5)]
    bad = misbehaving_pool.submit(response, "", {})
    neighbours += [misbehaving_pool.submit("fine", "", {}) for _ in range(5)]
    assert bad.result(30) is Verdict.CHECKER_ERROR
    assert {future.result(30) for future in neighbours} == {Verdict.CORRECT}


def test_a_worker_killed_from_outside_loses_nothing(misbehaving_pool: VerifierPool, tmp_path: Path) -> None:
    assert misbehaving_pool.submit("die once", str(tmp_path / "died"), {}).result(30) is Verdict.CORRECT
    assert (tmp_path / "died").exists()


def test_idle_workers_killed_from_outside_are_replaced(misbehaving_pool: VerifierPool) -> None:
    assert misbehaving_pool.submit("fine", "", {}).result(30) is Verdict.CORRECT
    for child in _workers():
        os.kill(child, signal.SIGKILL)
    time.sleep(0.5)
    assert misbehaving_pool.submit("fine", "", {}).result(30) is Verdict.CORRECT


def test_workers_ignore_ctrl_c_and_print_nothing(misbehaving_pool: VerifierPool, capfd: Any) -> None:
    assert misbehaving_pool.submit("interrupt", "", {}).result(30) is Verdict.CORRECT
    assert misbehaving_pool.submit("print", "", {}).result(30) is Verdict.CORRECT
    assert capfd.readouterr() == ("", "")


def test_workers_load_no_model_library(misbehaving_pool: VerifierPool) -> None:
    assert misbehaving_pool.submit("modules", "", {}).result(30) is Verdict.CORRECT


def test_submit_blocks_when_enough_tasks_wait() -> None:
    with VerifierPool("math", timeout=30, workers=1) as pool:
        submitted = 0

        def flood() -> None:
            nonlocal submitted
            for _ in range(QUEUED_PER_WORKER + 5):
                pool.submit(*HARD, {})
                submitted += 1

        others = set(_workers())
        pool.submit(*HARD, {}).result(30)
        (worker,) = set(_workers()) - others
        os.kill(worker, signal.SIGSTOP)  # nothing gets done
        thread = threading.Thread(target=flood, daemon=True)
        thread.start()
        thread.join(1.0)
        assert submitted == QUEUED_PER_WORKER
        os.kill(worker, signal.SIGCONT)
        thread.join(30)
        assert submitted == QUEUED_PER_WORKER + 5


def test_close_leaves_no_future_without_a_verdict() -> None:
    pool = VerifierPool("math", workers=1)
    futures = [pool.submit(*HARD, {}) for _ in range(10)]
    pool.close()
    assert {future.result(10) for future in futures} <= {Verdict.CORRECT, Verdict.CHECKER_ERROR}
    assert pool.submit(*HARD, {}).result(10) is Verdict.CHECKER_ERROR


def test_plain_numbers_need_no_worker() -> None:
    others = _workers()
    with VerifierPool("math") as pool:
        future = pool.submit("The answer is $1,234.", "1234", {})
        assert future.done()
        assert future.result() is Verdict.CORRECT
        assert set(_workers()) <= set(others)


def test_a_row_may_name_its_verifier() -> None:
    with VerifierPool("math", workers=1) as pool:
        row = {"verifier": "exact"}
        assert pool.submit("Hello  world", "Hello world", row).result(30) is Verdict.CORRECT
        assert pool.submit("5.0", "5", row).result(30) is Verdict.WRONG
        assert pool.submit("5.0", "5", {}).result(30) is Verdict.CORRECT


@pytest.mark.parametrize("name", ["os:system", "test_pool:misbehaving", "nothing", 5])
def test_a_row_may_not_name_any_code(name: Any) -> None:
    with VerifierPool("math", workers=1) as pool:
        assert pool.submit("exit 0", "5", {"verifier": name}).result(30) is Verdict.CHECKER_ERROR
        with pytest.raises(UserError) as error:
            pool.verifier_of({"verifier": name})
    assert error.value.message == (
        f"field verifier: {str(name)!r} is not one of "
        "math, numeric, exact, choice, regex, json, tool_call, code, instructions, judge, none"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"timeout": 0}, "the time limit of a check must be above 0 seconds, got 0"),
        ({"memory_mb": 8}, "the memory limit of a check must be at least 256 MiB, got 8"),
        ({"workers": 0}, "verifier workers must be at least 1, got 0"),
    ],
)
def test_limits_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        VerifierPool("math", **arguments)
    assert error.value.message == message


def test_the_smallest_memory_limit_is_enough_for_a_worker() -> None:
    with VerifierPool("math", workers=1, memory_mb=256) as pool:
        assert pool.submit(*HARD, {}).result(30) is Verdict.CORRECT


def test_no_hostile_answer_is_correct_or_gets_out(capsys: pytest.CaptureFixture[str]) -> None:
    limit = 5.0
    rows = list(responses())
    assert len(rows) >= 100
    slowest = 0.0
    with VerifierPool("math", timeout=limit) as pool:
        pool.submit(*HARD, {}).result(30)
        for row in rows:
            start = time.monotonic()
            verdict = pool.submit(row["response"], row["answer"], row).result(limit + 10)
            slowest = max(slowest, time.monotonic() - start)
            assert verdict is not Verdict.CORRECT, row["name"]
    with capsys.disabled():
        print(f"\nhostile_answers.jsonl: {len(rows)} texts, none correct, slowest {slowest:.2f} s")
    assert not Path("/tmp/mindgap-escaped").exists()


def test_ctrl_c_in_the_parent_shows_no_worker_traceback(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        "import time\n"
        "from mindgap_data.verify.pool import VerifierPool\n"
        "if __name__ == '__main__':\n"
        "    with VerifierPool('math', workers=2) as pool:\n"
        f"        pool.submit({HARD[0]!r}, {HARD[1]!r}, {{}}).result(30)\n"
        "        print('up', flush=True)\n"
        "        time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to parent and workers alike
    _, errors = process.communicate(timeout=30)
    assert errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")


def _workers() -> list[int]:
    """Worker processes below this one: children of its fork server."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                text = Path(f"/proc/{name}/stat").read_text()
            except OSError:
                continue
            parents[int(name)] = int(text.rpartition(")")[2].split()[1])
    servers = [pid for pid, parent in parents.items() if parent == os.getpid() and _is_fork_server(pid)]
    return [pid for pid, parent in parents.items() if parent in servers]


def _is_fork_server(pid: int) -> bool:
    try:
        return b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_a_ctrl_c_inside_a_wake_up_does_not_keep_the_pool_open() -> None:
    pool = VerifierPool("math", workers=1)
    assert pool.submit(*HARD, {}).result(60) is Verdict.CORRECT
    assert pool._pool is not None
    waiters = pool._pool._context.task_queue.not_empty._waiters
    while not waiters:  # until the scheduler waits for work
        time.sleep(0.01)
    # What notify leaves behind where it is interrupted between waking a thread and forgetting it.
    left = threading.Lock()
    left.acquire()
    waiters.appendleft(left)
    closing = threading.Thread(target=pool.close, daemon=True)
    closing.start()
    closing.join(30)
    assert not closing.is_alive()
