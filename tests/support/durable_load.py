"""Clients that commit one transaction after the other, each of many edits, and know what must be there afterwards.

Each client owns two peers, some prefixes and a token. Step N of its transactions changes all of them at once, so that
part of one would be seen.
"""

from __future__ import annotations

import base64
import http.client
import json
import secrets
from pathlib import Path
from typing import Any

from control_client import Control, Document

PREFIXES_PER_STEP = 3
GUEST_STEPS = 4  # a third peer is there in every other two of them


def random_key() -> str:
    """Good for a peer that never says anything."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _prefixes(number: int, step: int) -> list[str]:
    first = step * PREFIXES_PER_STEP
    return [f"10.{100 + number}.{(first + i) // 256 % 256}.{(first + i) % 256}/32" for i in range(PREFIXES_PER_STEP)]


def _token(number: int) -> str:
    return f"10.{200 + number}.0.0/16"


def _has_guest(step: int) -> bool:
    return step % GUEST_STEPS >= GUEST_STEPS // 2


def expected_peers(number: int, step: int) -> dict[str, dict[str, Any]]:
    """All of a client's peers after its step."""
    token = [_token(number)]
    peers = {f"c{number}a": {"description": str(step),
                             "allowed_ips": sorted(_prefixes(number, step) + (token if step % 2 == 0 else []))},
             f"c{number}b": {"description": "", "allowed_ips": token if step % 2 else []}}
    if _has_guest(step):
        peers[f"c{number}guest"] = {"description": str(step // GUEST_STEPS), "allowed_ips": []}
    return peers


class Client:
    def __init__(self, number: int, socket: Path) -> None:
        self.number = number
        self.a, self.b, self.guest = f"c{number}a", f"c{number}b", f"c{number}guest"
        self.asked = self.acknowledged = 0  # steps
        self.acknowledged_now = 0  # in this life of the gateway
        self.generation = 0  # of the newest that was acknowledged
        self.fault: str | None = None
        self._socket = socket

    def prepare(self, control: Control) -> None:
        """Step 0."""
        answer = control.commit(
            {"op": "peer_add", "peer": self.a, "public_key": random_key(), "description": "0",
             "prefixes": [*_prefixes(self.number, 0), _token(self.number)]},
            {"op": "peer_add", "peer": self.b, "public_key": random_key()})
        if answer.status != 200:
            raise RuntimeError(answer.body)

    def _edits(self, step: int) -> list[Document]:
        giver, taker = (self.b, self.a) if step % 2 == 0 else (self.a, self.b)
        edits: list[Document] = [
            {"op": "release", "peer": self.a, "prefixes": _prefixes(self.number, step - 1)},
            {"op": "claim", "peer": self.a, "prefixes": _prefixes(self.number, step)},
            {"op": "move", "from": giver, "to": taker, "prefixes": [_token(self.number)]},
            {"op": "peer_set", "peer": self.a, "description": str(step)}]
        if _has_guest(step) and not _has_guest(step - 1):
            edits.append({"op": "peer_add", "peer": self.guest, "public_key": random_key(),
                          "description": str(step // GUEST_STEPS)})
        if _has_guest(step - 1) and not _has_guest(step):
            edits.append({"op": "peer_remove", "peer": self.guest})
        return edits

    def work_until_it_breaks(self) -> None:
        """Step after step until the gateway is gone. Any other answer than a commit is a `fault`."""
        self.acknowledged_now = 0
        try:
            with Control(self._socket, timeout=30) as control:
                while True:
                    self.asked = self.acknowledged + 1
                    answer = control.commit(*self._edits(self.asked))
                    if answer.status != 200 or not answer.body["committed"]:
                        self.fault = f"step {self.asked}: {answer.status} {answer.body}"
                        return
                    self.acknowledged = self.asked
                    self.acknowledged_now += 1
                    self.generation = max(self.generation, answer.body["generation"])
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            return  # killed

    def resume_from(self, step: int) -> None:
        self.acknowledged = self.asked = step
