#!/usr/bin/env python3
"""Several session threads: a crowd that begins at the same moment, and a stock client beside it, get their sessions."""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import requirements
from gateway_case import GatewayCase
from noise_peer import RESPONSE_BYTES, Initiator, Session, tai64n
from packets import socket_in
from testbed import GATEWAY_OUTSIDE, HOST_V4, LISTEN_PORT, bare
from turnpiked import METRICS

CROWD = 150
ROUNDS = 5
WITHIN = 10  # seconds
USED = "turnpike_session_thread_cpu_seconds_total"
HANDED_OVER = "turnpike_handshake_computations_handed_over_total"


class SessionThreads(GatewayCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        requirements.need_module("nacl", "python3-nacl")

    def setUp(self) -> None:
        super().setUp()
        self.cpus = sorted(os.sched_getaffinity(0))
        self.assertGreaterEqual(len(self.cpus), 2, "two session threads are asked for on two CPUs")
        self.client = self.bed.add_client("client-a", preshared=True)
        space = self.lab.namespace("crowd")
        self.bed.plug(space, "eth0", "crowd")
        space.address("eth0", "192.0.2.77/24")
        self.crowd = [Initiator(self.bed.keys.public) for _ in range(CROWD)]
        peers = [{"name": f"crowd-{n}", "public_key": peer.public_base64, "allowed_ips": [f"10.9.0.{n}/32"]}
                 for n, peer in enumerate(self.crowd)]
        self.gateway = self.bed.gateway(peers=[self.bed.peer_config(self.client), *peers])
        self.gateway.config["dataplane"]["session_cores"] = [self.cpus[0], self.cpus[-1]]
        self.gateway.config["control"]["metrics"] = METRICS
        self.gateway.start()
        self.socket = socket_in(space, socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.connect((bare(GATEWAY_OUTSIDE[0]), LISTEN_PORT))

    def tearDown(self) -> None:
        self.socket.close()
        super().tearDown()

    def threads(self) -> dict[str, list[str]]:
        """Of the session threads, by name: the CPUs that they may use."""
        assert self.gateway is not None and self.gateway.process is not None
        found = {}
        for task in Path(f"/proc/{self.gateway.process.pid}/task").iterdir():
            name = (task / "comm").read_text().strip()
            if name.startswith("session"):
                status = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines()
                              if ":\t" in line)
                found[name] = status["Cpus_allowed_list"].split(",")
        return found

    def begin_together(self) -> dict[int, Session]:
        """All send their initiation; those that are not answered again, a second later. Each confirms its session."""
        sessions: dict[int, Session] = {}
        end = time.monotonic() + WITHIN
        while len(sessions) < CROWD and time.monotonic() < end:
            stamp = tai64n(time.time_ns())
            for message in [peer.initiation(stamp, n) for n, peer in enumerate(self.crowd) if n not in sessions]:
                self.socket.send(message)
            again = time.monotonic() + 1
            while len(sessions) < CROWD and (left := again - time.monotonic()) > 0:
                if not select.select([self.socket], [], [], left)[0]:
                    break
                answer = self.socket.recv(2048)
                if len(answer) != RESPONSE_BYTES:  # a keepalive
                    continue
                number = struct.unpack_from("<I", answer, 8)[0]
                sessions[number] = self.crowd[number].finish(answer)
                self.socket.send(sessions[number].data(b""))
        return sessions

    def test_a_crowd_and_a_stock_client_get_their_sessions(self) -> None:
        assert self.gateway is not None
        self.assertEqual(self.threads(), {"session": [str(self.cpus[0])], "session-1": [str(self.cpus[-1])]})
        for number in range(ROUNDS):
            self.assertEqual(len(self.begin_together()), CROWD, f"sessions in round {number}")
            self.assert_pings(self.client.client.space, HOST_V4)
            self.client.client.restart()
        for name in ("crowd-0", f"crowd-{CROWD - 1}"):
            self.assertIsNotNone(self.gateway.peer(name)["last_handshake"])
        # Two of each handshake; how many of them, the rush decides.
        handed_over = self.gateway.metric(HANDED_OVER)
        print(f"{handed_over:.0f} computations were handed over", file=sys.stderr)
        self.assertGreater(handed_over, CROWD)
        for number, name in zip((self.cpus[0], self.cpus[-1]), ("session", "session-1")):
            self.assertGreater(self.gateway.metric(f'{USED}{{thread="{name}",cpu="{number}"}}'), 0)
        # The tables lie on the NUMA node of the worker that reads them, where the kernel knows of nodes.
        node = self.gateway.show()["workers"][0]["numa_node"]
        tables = self.gateway.metric(f'turnpike_table_bytes{{numa_node="{"any" if node is None else node}"}}')
        self.assertGreater(tables, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
