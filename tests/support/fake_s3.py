"""An S3 service of one bucket, small enough to run in a test: the requests that s3fs makes for whole files."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

BUCKET = "bucket"


@dataclass
class Bucket:
    """What the service holds, and which keys it handles badly."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)  # neither given nor taken
    refused: set[str] = field(default_factory=set)  # not taken
    torn: set[str] = field(default_factory=set)  # the connection ends in the middle of the body


@contextmanager
def serve() -> Iterator[Bucket]:
    """Serve an empty bucket."""
    bucket = Bucket()

    class Service(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        @property
        def key(self) -> str:
            return unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}").lstrip("/")

        def answer(self, status: int, body: bytes = b"", length: int | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.send_header("ETag", '"tag"')
            self.send_header("Last-Modified", "Wed, 25 Nov 2026 10:00:00 GMT")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def fault(self, status: int, code: str) -> None:
            self.answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

        def do_GET(self) -> None:
            if "list-type" in parse_qs(urlsplit(self.path).query):
                self.answer(200, b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>")
            elif self.key in bucket.denied:
                self.fault(403, "AccessDenied")
            elif self.key not in bucket.files:
                self.fault(404, "NoSuchKey")
            else:
                whole = bucket.files[self.key]
                start = int(self.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
                torn = self.key in bucket.torn and self.command == "GET"
                end = len(whole) // 2 if torn else len(whole)
                self.answer(206 if start else 200, whole[start:end], len(whole) - start)
                self.close_connection = torn

        do_HEAD = do_GET  # noqa: N815 - the name http.server calls

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.key in bucket.denied | bucket.refused:
                self.fault(403, "AccessDenied")
            else:
                bucket.files[self.key] = body
                self.answer(200)

        def do_DELETE(self) -> None:
            bucket.files.pop(self.key, None)
            self.answer(204)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(501)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    bucket.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield bucket
    finally:
        server.shutdown()
        server.server_close()


def log_in(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let s3fs find the service and a key of it as it finds a user's."""
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()


def log_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the key away."""
    import s3fs

    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    s3fs.S3FileSystem.clear_instance_cache()
