#!/usr/bin/env python3
"""Readers of events that do not read: cut off with a notice, while others lose nothing, commits take no longer and the
daemon stays as small as its bound says."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import statistics
import sys
import threading
import time
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from control_client import Control
from durable_case import EXIT_ERROR, DurabilityCase
from lab import Process, wait_until
from turnpiked import METRICS, program

STUCK = 40
COMMITS = 2_500
COMMENT = "x" * 1_000
# control/api/events.h: what has not been taken and, once more, what is being sent.
BYTES_EACH = 2 * 256 * 1024
TEXT_EACH = COMMITS * len(COMMENT)  # what it would be without a bound
# A commit that waited for a reader would take longer by far; on a machine that is busy any takes a slice of time or two.
LONG_SECONDS = 0.01
# In `full` they also stand still for longer than a slice of any other answer may take (HttpTimeouts::write).
STILL_SECONDS = 40 if os.environ.get("TURNPIKE_TEST_FULL") else 0
Event = dict[str, Any]


class Reader:
    """GET /v1/events; reads when it is asked to."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(60)
        self.socket.connect(str(path))
        self.socket.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        self.response = http.client.HTTPResponse(self.socket)
        self.response.begin()
        assert self.response.status == 200, self.response.status

    def events(self) -> list[Event]:
        """All up to the end, which must be a proper one."""
        return [json.loads(line) for line in self.response.read().splitlines()]

    def close(self) -> None:
        self.response.close()
        self.socket.close()


class SlowReaders(DurabilityCase):
    def setUp(self) -> None:
        super().setUp()
        self.gateway.config["control"] |= {"durability": "off", "metrics": METRICS}
        self.gateway.start()
        self.add_peer("alice")
        self.committing = self.control()

    def commit(self, count: int) -> float:
        """So many commits; the median time of one in seconds."""
        times = []
        for number in range(count):
            answer = self.committing.ask("POST", "/v1/transactions", {"comment": COMMENT, "edits": [
                {"op": "release" if number % 2 else "claim", "tunnel": "wg0", "peer": "alice", "prefixes": ["10.9.0.1/32"]}]})
            self.assertEqual(answer.status, 200, answer.body)
            times.append((answer.answered_ns - answer.asked_ns) / 1e9)
        return statistics.median(times)

    def memory(self) -> int:
        assert self.gateway.process is not None
        status = Path(f"/proc/{self.gateway.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def watch(self, *words: str) -> Process:
        """turnpike watch, which stands still."""
        process = self.gateway.space.start("watch" + "".join(words), program("turnpike"), "--socket",
                                           str(self.gateway.socket), "watch", *words)

        def listens() -> bool:
            self.commit(2)
            return bool(process.log.read_text())

        wait_until("turnpike watch sees an event", listens)
        process.signal(signal.SIGSTOP)
        return process

    def test_they_are_cut_off_with_a_notice_and_nobody_else_notices(self) -> None:
        self.commit(1_000)  # as many as the history keeps
        before = self.commit(500)
        memory = self.memory()

        watching = [self.watch(), self.watch("--json")]
        stuck = [Reader(self.gateway.socket) for _ in range(STUCK)]
        quick = Reader(self.gateway.socket)
        heard: list[Event] = []
        enough = threading.Event()

        def read_all() -> None:
            for line in quick.response:
                heard.append(json.loads(line))
                if len(heard) == COMMITS:
                    return enough.set()

        thread = threading.Thread(target=read_all, daemon=True)
        thread.start()
        first = self.gateway.show()["generation"] + 1
        during = self.commit(COMMITS)
        grown = self.memory() - memory
        print(f"a commit took {before * 1e6:.0f} us, with {STUCK} readers that stand still {during * 1e6:.0f} us; "
              f"{grown / 2**20:.1f} MiB more of at most {STUCK * BYTES_EACH / 2**20:.0f} ({STUCK * TEXT_EACH / 2**20:.0f} "
              "without a bound)", flush=True)
        self.assertLess(grown, (STUCK * BYTES_EACH + STUCK * TEXT_EACH) / 2)

        # Who reads got everything, in order.
        self.assertTrue(enough.wait(60), len(heard))
        self.assertEqual([event["generation"] for event in heard], list(range(first, first + COMMITS)))
        self.assertEqual(self.gateway.metric("turnpike_event_readers_cut_off_total"), STUCK + len(watching))
        time.sleep(STILL_SECONDS)

        # Who did not finds what there was, without a gap, then the notice and the end.
        for reader in stuck:
            events = reader.events()
            self.assertEqual(events[-1]["event"], "cut_off", events[-1])
            self.assertIn("listen again", events[-1]["detail"])
            self.assertGreater(len(events), 256 * 1024 // 2 // len(COMMENT))
            self.assertEqual([event["generation"] for event in events[:-1]], list(range(first, first + len(events) - 1)))
        for process in watching:
            process.signal(signal.SIGCONT)
        for process in watching:
            self.assertEqual(process.wait(30), EXIT_ERROR)
            *_, notice, why = process.tail(2).splitlines()
            self.assertIn("cut_off", notice)
            self.assertIn("turnpike: cut off: events came faster than they were read", why)

        # Their places are free.
        again = [Reader(self.gateway.socket) for _ in range(60)]
        self.commit(1)
        for reader in [*again, quick, *stuck]:
            reader.close()
        after = self.commit(500)
        self.assertLess(during, max(3 * before, 3 * after, LONG_SECONDS), f"{before} before, {after} after")
        self.assertEqual(self.gateway.stop(), 0)

    def test_a_reader_that_never_comes_back_does_not_keep_the_gateway_from_stopping(self) -> None:
        stuck = [Reader(self.gateway.socket) for _ in range(4)]
        self.commit(COMMITS // 2)
        self.assertEqual(self.gateway.stop(), 0)
        for reader in stuck:
            reader.close()

    def test_watch_says_that_the_gateway_has_ended(self) -> None:
        process = self.watch()
        process.signal(signal.SIGCONT)
        self.assertEqual(self.gateway.stop(), 0)
        self.assertEqual(process.wait(10), EXIT_ERROR)
        self.assertIn("has closed the connection; was it stopped?", process.tail(1))


if __name__ == "__main__":
    unittest.main(verbosity=2)
