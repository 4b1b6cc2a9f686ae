"""Raw HTTP over turnpiked's control socket, one kept-alive connection for each client."""

from __future__ import annotations

import dataclasses
import http.client
import json
import socket
import time
from pathlib import Path
from typing import Any

Document = dict[str, Any]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back, and the monotonic time just before the request and just after the whole answer."""

    status: int
    body: Document
    generation: int | None  # of the ETag
    asked_ns: int
    answered_ns: int


class Control:
    """Not for several threads: a connection carries one request at a time."""

    def __init__(self, socket_path: Path, timeout: float = 60) -> None:
        self._connection = _UnixConnection(socket_path, timeout)
        self._asked = 0

    def __enter__(self) -> "Control":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, document: Document | None = None) -> Answer:
        self.send(method, path, document)
        return self.receive()

    def send(self, method: str, path: str, document: Document | None = None) -> None:
        """The first half of ask()."""
        body = None if document is None else json.dumps(document)
        self._asked = time.monotonic_ns()
        self._connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})

    def receive(self) -> Answer:
        """The second half of ask()."""
        response = self._connection.getresponse()
        text = response.read()
        answered = time.monotonic_ns()
        tag = response.getheader("ETag")
        return Answer(response.status, json.loads(text), int(tag.strip('"')) if tag else None, self._asked, answered)

    def commit(self, *edits: Document, if_generation: int | None = None) -> Answer:
        """One transaction of edits on wg0."""
        document: Document = {"edits": [{"tunnel": "wg0", **edit} for edit in edits]}
        if if_generation is not None:
            document["if_generation"] = if_generation
        return self.ask("POST", "/v1/transactions", document)

    def move(self, prefixes: list[str], giver: str, taker: str, if_generation: int | None = None) -> Answer:
        return self.commit({"op": "move", "from": giver, "to": taker, "prefixes": prefixes},
                           if_generation=if_generation)

    def owner(self, prefix: str) -> Answer:
        return self.ask("GET", f"/v1/owner?tunnel=wg0&prefix={prefix}")

    def peer(self, name: str) -> Answer:
        return self.ask("GET", f"/v1/peer?tunnel=wg0&peer={name}")
