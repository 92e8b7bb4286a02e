"""Small real HTTP servers that answer /completions as a test tells them, well or badly."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any]  # HTTP status, and a body: JSON, or a str sent as HTML


def completion(tokens: list[str], logprob: float = -0.5, finish: str = "length", **more: Any) -> Answer:
    """A well-formed answer of these tokens, each at ``logprob``."""
    given = {
        "tokens": tokens,
        "token_logprobs": [logprob] * len(tokens),
        "top_logprobs": [{token: logprob} for token in tokens],
        "text_offset": [0] * len(tokens),
    }
    text = "".join(token for token in tokens if not token.startswith("<|"))
    choice = {"index": 0, "text": text, "finish_reason": finish, "logprobs": given, **more}
    return 200, {"id": "1", "object": "text_completion", "created": 0, "model": "m", "choices": [choice]}


def llama_completion(ids: list[int], text: str, logprob: float = -0.5, finish: str = "length") -> Answer:
    """The same as llama.cpp writes it: ``content``, an object a token."""
    content = [{"id": token, "token": "", "bytes": [], "logprob": logprob} for token in ids]
    for entry in content:
        entry["top_logprobs"] = [{**entry}]
    status, body = completion([], finish=finish)
    body["choices"][0] |= {"text": text, "logprobs": {"content": content}}
    return status, body


@contextmanager
def serving(answer: Callable[[dict[str, Any]], Answer], listed: Any = None) -> Iterator[str]:
    """Serve ``answer(body)``, and ``listed`` as the list of models, on 127.0.0.1; yields the base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(*((404, {"message": "no list here"}) if listed is None else (200, listed)))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._send(*answer(body))

        def _send(self, status: int, payload: Any) -> None:
            is_text = isinstance(payload, str)
            data = (payload if is_text else json.dumps(payload)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if is_text else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):  # the client has given up
                self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
