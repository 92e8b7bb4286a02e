"""A Hugging Face hub that takes dataset repositories, as huggingface_hub makes, fills and reads them; in memory.

Written after the requests of huggingface_hub 1.x: create, paths-info, validate-yaml, preupload, LFS batch and upload,
commit (NDJSON), resolve.
"""

import base64
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

import yaml

TOKEN = "hf_writer"
USER = "me"
COMMIT = "c" * 40
LICENSES = ("apache-2.0", "mit", "other")


@dataclass
class Hub:
    """What is on it, and what a test breaks."""

    address: str = ""
    private: dict[str, bool] = field(default_factory=dict)  # repository -> visibility
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)  # LFS, by sha256
    commits: int = 0
    uploads: int = 0
    hang_up_at_commit: int = 0  # how many commits find the connection closed, before anything is stored
    lose_answer_of_commit: int = 0  # the same, once all is stored


@contextmanager
def serve() -> Iterator[Hub]:
    """Run a hub with one user, :data:`USER`."""
    hub = Hub()

    class Handler(_Handler):
        state = hub

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    state: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(self.path.partition("?")[0])
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer(401, {"error": "Invalid username or password."})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return self._validate(json.loads(body)["content"])
        if path.endswith(".git/info/lfs/objects/batch"):
            return self._batch(json.loads(body))
        name, _, action = path.removeprefix("/api/datasets/").partition("/")
        owner, (name, _, action) = name, action.partition("/")
        repository = f"{owner}/{name}"
        if repository not in self.state.files:
            return self._answer(404, {"error": "Repository not found"}, code="RepoNotFound")
        if action == "paths-info/main":
            return self._paths_info(repository, parse_qs(body.decode())["paths"])
        if action == "preupload/main":
            files = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["path"].startswith("train") else "regular",
                    "shouldIgnore": False,
                    "oid": self._oid(repository, one["path"]),
                }
                for one in json.loads(body)["files"]
            ]
            return self._answer(200, {"files": files})
        assert action == "commit/main", path
        return self._commit(repository, [json.loads(line) for line in body.splitlines()])

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.state.uploads += 1
        self.state.objects[hashlib.sha256(content).hexdigest()] = content
        self._answer(200, {})

    def do_GET(self) -> None:
        owner, name, _, _, file = unquote(self.path.partition("?")[0]).removeprefix("/datasets/").split("/", 4)
        content = self.state.files.get(f"{owner}/{name}", {}).get(file)
        allowed = (
            not self.state.private.get(f"{owner}/{name}") or self.headers.get("Authorization") == f"Bearer {TOKEN}"
        )
        if content is None or not allowed:
            self._answer(404, {}, code="EntryNotFound" if allowed else "RepoNotFound")
            return
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815 - the name http.server calls

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _create(self, asked: dict[str, Any]) -> None:
        owner = asked.get("organization") or USER
        if owner != USER:
            return self._answer(403, {"error": f"You don't have the rights to create a dataset under {owner}"})
        repository = f"{owner}/{asked['name']}"
        address = {"url": f"{self.state.address}/datasets/{repository}"}
        if repository in self.state.files:
            return self._answer(409, {"error": "You already created this dataset repo", **address})
        self.state.files[repository] = {}
        self.state.private[repository] = asked["visibility"] == "private" if "visibility" in asked else asked["private"]
        return self._answer(200, address)

    def _validate(self, card: str) -> None:
        data = yaml.safe_load(card.split("---\n")[1])
        known = data.get("license") in (None, *LICENSES)
        errors = [] if known else [{"message": f'"license" must be one of [{", ".join(LICENSES)}]'}]
        self._answer(200 if known else 400, {"errors": errors, "warnings": []})

    def _paths_info(self, repository: str, paths: list[str]) -> None:
        files = self.state.files[repository]
        answer = []
        for path in paths:
            if path in files:
                entry = {"type": "file", "path": path, "size": len(files[path]), "oid": _git_hash(files[path])}
                if path.startswith("train"):
                    digest = hashlib.sha256(files[path]).hexdigest()
                    entry["lfs"] = {"size": len(files[path]), "oid": digest, "pointerSize": 130}
                answer.append(entry)
        self._answer(200, answer)

    def _batch(self, asked: dict[str, Any]) -> None:
        objects = []
        for one in asked["objects"]:
            actions = {"upload": {"href": f"{self.state.address}/lfs/{one['oid']}"}}
            objects.append(one if one["oid"] in self.state.objects else {**one, "actions": actions})
        self._answer(200, {"transfer": "basic", "objects": objects})

    def _commit(self, repository: str, lines: list[dict[str, Any]]) -> None:
        if self.state.hang_up_at_commit:
            self.state.hang_up_at_commit -= 1
            return self.connection.close()
        for line in lines:
            if line["key"] == "file":
                self.state.files[repository][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            if line["key"] == "lfsFile":
                self.state.files[repository][line["value"]["path"]] = self.state.objects[line["value"]["oid"]]
        self.state.commits += 1
        if self.state.lose_answer_of_commit:
            self.state.lose_answer_of_commit -= 1
            return self.connection.close()
        url = f"{self.state.address}/datasets/{repository}/commit/{COMMIT}"
        return self._answer(200, {"commitUrl": url, "commitOid": COMMIT})

    def _oid(self, repository: str, path: str) -> str | None:
        content = self.state.files[repository].get(path)
        if content is None:
            return None
        return hashlib.sha256(content).hexdigest() if path.startswith("train") else _git_hash(content)

    def _answer(self, status: int, body: Any, code: str | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        if code is not None:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
