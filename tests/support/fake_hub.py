"""A Hugging Face hub of one data set, small enough to run in a test: the few addresses its client asks for."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

COMMIT = "a" * 40
_OBJECT = "b" * 40


@contextmanager
def serve(name: str, file: str, content: bytes) -> Iterator[str]:
    """Serve data set ``name`` with one ``file``; gives the hub's address."""

    api, raw = f"/api/datasets/{name}", f"/datasets/{name}/resolve/{COMMIT}/{file}"
    info = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": file}], "tags": []}
    pages = {
        api: json.dumps(info).encode(),
        f"{api}/revision/{COMMIT}": json.dumps(info).encode(),
        f"{api}/tree/{COMMIT}": json.dumps(
            [{"type": "file", "oid": _OBJECT, "size": len(content), "path": file}]
        ).encode(),
        raw: content,
    }

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path.partition("?")[0])
            self.send_response(404 if body is None else 200)
            if body is None:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", str(len(body or b"")))
            self.send_header("ETag", f'"{_OBJECT}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body or b"")

        do_HEAD = do_GET  # noqa: N815 - the name http.server calls

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
