"""Programs in the sandbox: right, wrong, and hostile, under every isolation that works here."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mindgap_data.verify import Verdict, sandbox
from mindgap_data.verify.code import CodeVerifier
from mindgap_data.verify.pool import VerifierPool
from mindgap_data.verify.sandbox import ISOLATIONS, Isolation

DATA = Path(__file__).parents[2] / "data"
CORRECT, WRONG, NO_ANSWER, ERROR = Verdict.CORRECT, Verdict.WRONG, Verdict.NO_ANSWER, Verdict.CHECKER_ERROR
TESTS = {"tests": ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"]}
PAIRS = {"inputs": ["1\n", "5"], "outputs": ["2", "6\n"]}
ADD = "def add(a, b):\n    return a + b\n"


def fenced(program: str, language: str = "python") -> str:
    return f"Here it is:\n```{language}\n{program}\n```\nDone."


@pytest.fixture(params=ISOLATIONS)
def isolation(request: pytest.FixtureRequest) -> Isolation:
    if not sandbox.works(request.param):
        pytest.skip(f"isolation {request.param} does not work on this machine")
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("response", "row", "verdict"),
    [
        (fenced(ADD), TESTS, CORRECT),
        (fenced(ADD), {"tests": "\n".join(TESTS["tests"])}, CORRECT),
        (fenced(ADD, ""), TESTS, CORRECT),
        (ADD, TESTS, CORRECT),
        (fenced(ADD.replace("+", "-")), TESTS, WRONG),
        (fenced(ADD) + fenced(ADD.replace("+", "-")), TESTS, WRONG),  # the last program counts
        (fenced("x = 1"), TESTS, WRONG),
        ("<think>" + fenced(ADD), TESTS, NO_ANSWER),
        ("I cannot write code.", TESTS, NO_ANSWER),
        (fenced(ADD, "java"), TESTS, NO_ANSWER),
        (fenced("print(int(input()) + 1)"), PAIRS, CORRECT),
        (fenced("print(int(input()) + 1, end='  \\n\\n')"), PAIRS, CORRECT),
        (fenced("print(2)"), PAIRS, WRONG),  # right on the first pair only
        (fenced("if __name__ == '__main__':\n    print(int(input()) + 1)"), PAIRS, CORRECT),
        (fenced("print(2); raise SystemExit(1)"), {"inputs": [""], "outputs": ["2"]}, WRONG),
        (fenced(ADD), {}, ERROR),
        (fenced(ADD), {**TESTS, **PAIRS}, ERROR),
        (fenced(ADD), {"tests": "assert ("}, ERROR),
        (fenced(ADD), {"tests": []}, ERROR),
        (fenced(ADD), {"inputs": ["1"], "outputs": []}, ERROR),
    ],
)
def test_verdicts(response: str, row: dict[str, Any], verdict: Verdict) -> None:
    assert CodeVerifier()(response, "", row) is verdict


def test_another_language() -> None:
    row = {"inputs": ["4"], "outputs": ["5"]}
    assert CodeVerifier(language="bash")(fenced("read x; echo $((x + 1))", "bash"), "", row) is CORRECT
    assert CodeVerifier(language="bash")(fenced("read x; echo $x", "sh"), "", row) is WRONG
    assert CodeVerifier(language="bash")(fenced(ADD, "bash"), "", TESTS) is ERROR  # tests are for Python


def programs() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / "hostile_programs.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("case", programs(), ids=lambda case: case["name"])
def test_hostile_programs(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    verdict = CodeVerifier(seconds=1.5)(fenced(case["program"]), "", TESTS)
    assert verdict is (CORRECT if case["right"] else WRONG)
    _assert_nothing_left()


@pytest.mark.parametrize(
    "name", ["fork bomb", "daemon", "endless output", "memory", "writes outside", "reads the keys"]
)
def test_every_isolation_contains_what_it_claims_to(isolation: Isolation, name: str) -> None:
    case = next(case for case in programs() if case["name"] == name)
    verdict = CodeVerifier(seconds=1.5, isolation=isolation)(fenced(case["program"]), "", TESTS)
    # Without a file system of its own, "writes outside" is only kept out of what the user may not write.
    if not (name == "writes outside" and isolation != "bubblewrap" and os.geteuid() != 0):
        assert verdict is (CORRECT if case["right"] else WRONG)
    _assert_nothing_left()


CONNECT = """\
import socket
try:
    socket.create_connection(('127.0.0.1', {port}), 1)
except OSError:
    pass
else:
    raise SystemExit
"""


def test_no_isolation_but_the_weakest_has_a_network(isolation: Isolation) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        program = CONNECT.format(port=server.getsockname()[1]) + ADD
        verdict = CodeVerifier(isolation=isolation)(fenced(program), "", TESTS)
    assert verdict is (WRONG if isolation == "limits" else CORRECT)


def test_bubblewrap_shows_no_file_of_the_user(tmp_path: Path) -> None:
    if not sandbox.works("bubblewrap"):
        pytest.skip("bubblewrap does not work on this machine")
    secret = tmp_path / "secret"
    secret.write_text("x")
    os.chmod(tmp_path, 0o755)
    program = f"import os\nassert not os.path.exists({str(secret)!r})\nassert not os.path.exists('/etc/passwd')\n{ADD}"
    assert CodeVerifier(isolation="bubblewrap")(fenced(program), "", TESTS) is CORRECT


def test_in_a_pool() -> None:
    with VerifierPool("code", {"seconds": 2}, timeout=1.0, workers=2) as pool:
        good, endless = fenced(ADD), fenced("while True: pass")
        futures = [pool.submit(response, "", TESTS) for response in (good, endless, good, good)]
        assert [future.result(60) for future in futures] == [CORRECT, WRONG, CORRECT, CORRECT]
    _assert_nothing_left()


def _assert_nothing_left() -> None:
    """No process with a sandbox's user or the daemon's sleep is alive, and nothing was written outside."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                uid = os.stat(f"/proc/{name}").st_uid
                state = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            mine = sandbox.FIRST_UID + os.getpid() % 1_000_000
            assert uid != mine or state == "Z", name
    for path in ("/usr/mindgap-escaped", "/etc/mindgap-escaped", "/root/mindgap-escaped", "/tmp/mindgap-escaped"):
        try:
            assert not Path(path).exists()
        except PermissionError:
            continue
