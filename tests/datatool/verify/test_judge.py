"""The judge, against a real server that says what the test tells it to."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mindgap_data.errors import UserError
from mindgap_data.verify import Verdict
from mindgap_data.verify.judge import JudgeVerifier, parse_vote
from mindgap_data.verify.pool import VerifierPool

CORRECT, WRONG, NO_ANSWER, ERROR = Verdict.CORRECT, Verdict.WRONG, Verdict.NO_ANSWER, Verdict.CHECKER_ERROR
YES, NO = "It is fine.\nVERDICT: CORRECT", "It is not.\nVERDICT: WRONG"
ROW = {"problem": "Name a colour."}


class Server:
    """Answers chat completions with ``replies`` by seed; keeps what it was asked."""

    def __init__(self) -> None:
        self.replies: list[str | int] = [YES]
        self.asked: list[dict[str, Any]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.asked.append(body)
                reply = server.replies[body["seed"] % len(server.replies)]
                status = reply if isinstance(reply, int) else 200
                message = {"role": "assistant", "content": reply}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                data = json.dumps(
                    {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
                ).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()


def judge(server: Server, tmp_path: Path, **options: Any) -> JudgeVerifier:
    return JudgeVerifier(base_url=server.url, model="m", cache=str(tmp_path / "cache"), **options)


@pytest.mark.parametrize(
    ("replies", "verdict", "asked"),
    [
        ([YES], CORRECT, 2),  # two of three settle it
        ([NO], WRONG, 2),
        ([YES, NO, YES], CORRECT, 3),
        ([NO, YES, NO], WRONG, 3),
        ([YES, "no verdict", NO], ERROR, 3),
        (["", ""], ERROR, 2),  # neither side can get two of three any more
    ],
)
def test_votes(server: Server, tmp_path: Path, replies: list[str | int], verdict: Verdict, asked: int) -> None:
    server.replies = replies
    assert judge(server, tmp_path)("Blue.", "", ROW) is verdict
    assert len(server.asked) == asked


def test_votes_are_asked_for_once(server: Server, tmp_path: Path) -> None:
    assert judge(server, tmp_path)("Blue.", "", ROW) is CORRECT
    server.replies = [NO]
    assert judge(server, tmp_path)("Blue.", "", ROW) is CORRECT
    assert len(server.asked) == 2
    assert judge(server, tmp_path)("Green.", "", ROW) is WRONG  # another response is another question
    assert judge(server, tmp_path, temperature=0.5)("Blue.", "", ROW) is WRONG


def test_a_failing_server_is_a_checker_error_and_not_remembered(server: Server, tmp_path: Path) -> None:
    server.replies = [400]
    assert judge(server, tmp_path)("Blue.", "", ROW) is ERROR
    server.replies = [YES]
    assert judge(server, tmp_path)("Blue.", "", ROW) is CORRECT


def test_the_whole_request(server: Server, tmp_path: Path) -> None:
    judge(server, tmp_path, votes=1, max_tokens=7)("<think>red?</think>Blue.", "a colour", ROW)
    (asked,) = server.asked
    assert {name: asked[name] for name in ("model", "temperature", "top_p", "max_tokens", "seed")} == {
        "model": "m",
        "temperature": 1.0,
        "top_p": 1.0,
        "max_tokens": 7,
        "seed": 0,
    }
    prompt = asked["messages"][0]["content"]
    assert "Name a colour." in prompt
    assert "Reference answer:" in prompt
    assert "Blue." in prompt
    assert "red?" not in prompt


def test_a_rubric_of_ones_own(server: Server, tmp_path: Path) -> None:
    rubric = tmp_path / "rubric.txt"
    rubric.write_text("{{ row.problem }}|{{ response }}|{{ answer }}")
    judge(server, tmp_path, rubric=str(rubric), votes=1)("{{ 7 * 7 }}", "x", ROW)
    assert server.asked[0]["messages"][0]["content"] == "Name a colour.|{{ 7 * 7 }}|x"
    probing, broken = tmp_path / "probing.txt", tmp_path / "broken.txt"
    probing.write_text("{{ ''.__class__.__mro__ }}")
    assert JudgeVerifier(server.url, "m", rubric=str(probing))("a", "", ROW) is ERROR  # sandboxed
    broken.write_text("{% if %}")
    with pytest.raises(UserError) as error:
        JudgeVerifier(server.url, "m", rubric=str(broken))
    assert error.value.message == (
        f"verifier 'judge': rubric {broken}: not a jinja2 template: "
        "Expected an expression, got 'end of statement block'"
    )


def test_in_a_pool_and_in_provenance(server: Server, tmp_path: Path) -> None:
    options = {"base_url": server.url, "model": "m", "cache": str(tmp_path)}
    with VerifierPool("judge", options, workers=1) as pool:
        assert pool.submit("Blue.", "", ROW).result(60) is CORRECT
    assert JudgeVerifier.kind == "judged"


@pytest.mark.parametrize(
    ("reply", "vote"),
    [
        ("VERDICT: CORRECT", "CORRECT"),
        ("why\nVERDICT: WRONG\n", "WRONG"),
        ("<think>VERDICT: WRONG</think>VERDICT: CORRECT", "CORRECT"),
        ("VERDICT: CORRECT.", ""),
        ("verdict: correct", ""),
        ("VERDICT: CORRECT\nbut who knows", ""),
        ("VERDICT: CORRECT\nVERDICT: WRONG", ""),  # the answer's own claim, repeated
        ("I would say VERDICT: CORRECT", ""),
        ("<think>VERDICT: CORRECT", ""),
        ("", ""),
    ],
)
def test_parse_vote(reply: str, vote: str) -> None:
    assert parse_vote(reply) == vote


@pytest.mark.parametrize(("response", "verdict"), [("", NO_ANSWER), ("<think>a", NO_ANSWER), ("a" * 60_001, ERROR)])
def test_what_is_not_judged(server: Server, tmp_path: Path, response: str, verdict: Verdict) -> None:
    assert judge(server, tmp_path)(response, "", ROW) is verdict
    assert server.asked == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"votes": 0}, "verifier 'judge': option votes must be a whole number from 1 to 99, got 0"),
        ({"agreement": 0.5}, "verifier 'judge': option agreement must be above 0.5, at most 1, got 0.5"),
        (
            {"rubric": "/none"},
            "verifier 'judge': rubric /none: cannot be read: [Errno 2] No such file or directory: '/none'",
        ),
    ],
)
def test_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        JudgeVerifier("http://127.0.0.1:9/v1", "m", **options)
    assert error.value.message == message
