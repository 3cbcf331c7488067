"""A hub that takes uploads: what `huggingface_hub` asks of a server to create a repository and commit files to it."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

__all__ = ["HubServer", "running_hub"]


@dataclass
class HubServer:
    """The server, and what was sent to it.

    Attributes:
        address: Its address.
        created: Bodies of the requests that create repositories.
        files: Files of the last commit, by their paths.
        status: Status of its answers.
    """

    address: str = ""
    created: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    status: int = 200

    def answer(self, path: str, body: bytes) -> dict[str, Any]:
        """Answer to a request."""
        if path == "/api/repos/create":
            self.created.append(json.loads(body))
            return {"url": f"{self.address}/{self.created[-1]['organization']}/{self.created[-1]['name']}"}
        if path.endswith("/preupload/main"):
            asked = [file["path"] for file in json.loads(body)["files"]]
            return {"files": [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in asked]}
        if path.endswith("/commit/main"):
            entries = [json.loads(line)["value"] for line in body.splitlines()]
            self.files = {each["path"]: base64.b64decode(each["content"]) for each in entries if "content" in each}
            return {"commitUrl": f"{self.address}/me/digits/commit/{'a' * 40}", "commitOid": "a" * 40}
        return {}


@contextmanager
def running_hub() -> Iterator[HubServer]:
    """A hub on this machine, for the length of the block."""
    hub = HubServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = json.dumps(hub.answer(self.path, body)).encode()
            self.send_response(hub.status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, args=(0.01,))  # seconds until it sees that it is to end
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
