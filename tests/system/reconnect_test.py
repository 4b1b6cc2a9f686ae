#!/usr/bin/env python3
"""The other end of a port goes away by kill -9 and comes back, or the interface does: the daemon goes on, says what it
sees, and forwards again.

The port inside is a memif, vhost-user or virtio-user port, and dpdk-testpmd behind it answers ARP and ping for every
address; clients outside are real.
"""

from __future__ import annotations

import os
import signal
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import requirements
from gateway_case import GatewayCase
from lab import Process, wait_until
from testbed import GATEWAY_INSIDE, GATEWAY_TUNNEL, HOST_V4, Side, bare
from turnpiked import METRICS, Gateway
from wireguard import ping

FULL = bool(os.environ.get("TURNPIKE_TEST_FULL"))
KILLS = 3
# Of all but one kind: what leaks is seen after one, too.
FEW_KILLS = KILLS if FULL else 1
# A queue that leaks has a thousand and more. What was sent stays in a queue until its room is wanted.
BUFFERS_MAY_DIFFER = 256


class ReconnectCase(GatewayCase):
    side: Side
    watcher: Process

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        requirements.need(("dpdk-testpmd",))

    def begin(self, device: str | None) -> Gateway:
        """Starts the gateway with this inside, and listens."""
        self.side = self.bed.add_client("client")
        self.gateway = self.bed.gateway()
        self.gateway.config["control"]["metrics"] = METRICS
        if device is not None:
            self.gateway.config["ports"][1]["device"] = device
        return self.gateway

    def port_is_up(self, name: str) -> bool:
        assert self.gateway is not None
        return {port["name"]: port["up"] for port in self.gateway.show()["ports"]}[name]

    def await_port(self, up: bool, changes: int) -> None:
        """Until the change with this number is in the log, and `show` says the same: the daemon looks once a second."""
        state = "inside: up" if up else "inside: down"
        wait_until(f"port {state}", lambda: len(self.logged()) >= changes, 30, every=0.05)
        self.assertEqual(self.logged()[-1], state)
        self.assertEqual(self.port_is_up("inside"), up)

    def logged(self) -> list[str]:
        assert self.gateway is not None
        return [line.split("port ", 1)[1] for line in self.gateway.log.read_text().splitlines()
                if line.endswith((": up", ": down")) and "port " in line]

    def watched(self) -> list[str]:
        return [f"{event['port']}: {event['event'].removeprefix('port_')}" for event in self.events(self.watcher)
                if event["event"].startswith("port_")]

    def assert_told(self, *lines: str) -> None:
        """In this order in the log and by events, as far as ports are concerned."""
        self.assertEqual(tuple(self.logged()), lines)
        # Those of before it listened are in the log alone.
        wait_until("the last event is there", lambda: self.watched()[-1:] == list(lines[-1:]))
        self.assertEqual(self.watched(), list(lines[-len(self.watched()):]))
        self.assertGreaterEqual(len(self.watched()), 2)

    def assert_nothing_leaks(self, in_use: list[float]) -> None:
        """`in_use`: buffers, at the same moment of each life of the other end."""
        self.assertLess(max(in_use) - min(in_use), BUFFERS_MAY_DIFFER, in_use)

    def buffers(self) -> float:
        assert self.gateway is not None
        return self.gateway.metric("turnpike_buffers_in_use")

    def answers(self, address: str) -> bool:
        return ping(self.side.client.space, address, 1, wait=1)[1] == 1

    def assert_only_gateway_answers(self) -> None:
        self.assertFalse(self.answers(HOST_V4))
        self.assert_pings(self.side.client.space, bare(GATEWAY_TUNNEL[0]), count=2)

    def assert_host_answers(self) -> None:
        wait_until("the host answers", lambda: self.answers(HOST_V4), 20)
        self.assert_pings(self.side.client.space, HOST_V4, count=3)


class OtherEnds(ReconnectCase):
    def setUp(self) -> None:
        super().setUp()
        self.sock = self.lab.dir / "port.sock"
        self.peers = 0

    def start_peer(self, device: str) -> Process:
        self.peers += 1
        # A server that was killed leaves its socket behind, on which the next one cannot listen.
        if "role=server" in device or "server=1" in device or ("net_vhost" in device and "client=1" not in device):
            self.sock.unlink(missing_ok=True)
        return self.bed.gateway_space.start(
            f"testpmd-{self.peers}", "dpdk-testpmd", "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry",
            "-m", "128", f"--file-prefix={self.lab.tag}-peer{self.peers}", "--lcores=0@0,1@0", f"--vdev={device}",
            "--", "--forward-mode=icmpecho", "--auto-start", "--stats-period=60", "--total-num-mbufs=8192",
            "--no-flush-rx")

    def check(self, ours: str, theirs: str, kills: int, peer_first: bool = False) -> None:
        ours, theirs = (text.format(sock=self.sock) for text in (ours, theirs))
        gateway = self.begin(ours)
        peer = self.start_peer(theirs) if peer_first else None
        if peer_first and "server=1" not in ours:
            wait_until("the other end listens", self.sock.exists)
        gateway.start()
        self.watcher = self.watch()
        if peer is None:
            self.await_port(up=False, changes=1)
            peer = self.start_peer(theirs)
            self.await_port(up=True, changes=2)
        self.assert_host_answers()
        # A client may connect after the first look.
        wait_until("a port that was down at first is told", lambda: self.logged()[-1:] in ([], ["inside: up"]))
        told = self.logged()
        in_use = [self.buffers()]
        for _ in range(kills):
            peer.signal(signal.SIGKILL)
            peer.wait()
            told.append("inside: down")
            self.await_port(up=False, changes=len(told))
            self.assert_only_gateway_answers()
            peer = self.start_peer(theirs)
            told.append("inside: up")
            self.await_port(up=True, changes=len(told))
            self.assert_host_answers()
            in_use.append(self.buffers())
        self.assertTrue(self.port_is_up("outside"))
        self.assert_told(*told)
        self.assert_nothing_leaks(in_use)

    if FULL:  # Its driver goes on by itself, as vhost's does.
        def test_memif_as_server(self) -> None:
            self.check("net_memif0,role=server,id=0,socket={sock},socket-abstract=no,rsize=10,bsize=2048",
                       "net_memif0,role=client,id=0,socket={sock},socket-abstract=no,rsize=10,bsize=2048", KILLS)

    def test_memif_as_client(self) -> None:
        self.check("net_memif0,role=client,id=0,socket={sock},socket-abstract=no,rsize=10,bsize=2048",
                   "net_memif0,role=server,id=0,socket={sock},socket-abstract=no,rsize=10,bsize=2048",
                   FEW_KILLS, peer_first=True)

    def test_vhost_as_server(self) -> None:
        self.check("net_vhost0,iface={sock},queues=1", "net_virtio_user0,path={sock},queues=1,queue_size=1024",
                   FEW_KILLS)

    if FULL:  # But for who connects as vhost as a server.
        def test_vhost_as_client(self) -> None:
            self.check("net_vhost0,iface={sock},queues=1,client=1",
                       "net_virtio_user0,path={sock},queues=1,queue_size=1024,server=1", KILLS)

    def test_virtio_user_as_client(self) -> None:
        self.check("net_virtio_user0,path={sock},queues=1,queue_size=1024", "net_vhost0,iface={sock},queues=1",
                   FEW_KILLS, peer_first=True)

    def test_virtio_user_as_server(self) -> None:
        self.check("net_virtio_user0,path={sock},queues=1,queue_size=1024,server=1",
                   "net_vhost0,iface={sock},queues=1,client=1", KILLS, peer_first=True)


class Interfaces(ReconnectCase):
    """Of the kernel: taken down and up, deleted and made again."""

    def check(self, device: str | None, deletions: int) -> None:
        gateway = self.begin(device)
        gateway.start()
        self.watcher = self.watch()
        self.assert_host_answers()
        space = self.bed.gateway_space
        in_use = [self.buffers()]
        told = []
        for _ in range(FEW_KILLS):
            space.ip("link", "set", "lan0", "down")
            told.append("inside: down")
            self.await_port(up=False, changes=len(told))
            self.assert_only_gateway_answers()
            space.ip("link", "set", "lan0", "up")
            told.append("inside: up")
            self.await_port(up=True, changes=len(told))
            self.assert_host_answers()
        for _ in range(deletions):
            space.ip("link", "del", "lan0")
            told.append("inside: down")
            self.await_port(up=False, changes=len(told))
            self.assert_only_gateway_answers()
            self.bed.plug_host()
            self.lab.raw_port(space, "lan0")
            told.append("inside: up")
            self.await_port(up=True, changes=len(told))
            # The host's end is another, too: the gateway learns its address when it is asked for its own.
            wait_until("the gateway answers the host",
                       lambda: ping(self.bed.host, bare(GATEWAY_INSIDE[0]), 1, wait=1)[1] == 1, 30)
            self.assert_host_answers()
            in_use.append(self.buffers())
        self.assert_told(*told)
        self.assert_nothing_leaks(in_use)

    def test_af_packet(self) -> None:
        self.check(None, FEW_KILLS)

    def test_af_xdp(self) -> None:
        self.check("net_af_xdp0,iface=lan0", FEW_KILLS)


if __name__ == "__main__":
    unittest.main(verbosity=2)
