#!/usr/bin/env python3
"""The other end of a port goes away by kill -9 and comes back, or the interface does: the daemon goes on, says what it
sees, and forwards again.

The port inside is a memif, vhost-user or virtio-user port, and dpdk-testpmd behind it answers ARP and ping for every
address; clients outside are real.
"""

from __future__ import annotations

import signal
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import requirements
from gateway_case import GatewayCase
from lab import Process, wait_until
from testbed import GATEWAY_INSIDE, GATEWAY_TUNNEL, HOST_V4, Side, bare

KILLS = 3


class ReconnectCase(GatewayCase):
    side: Side

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        requirements.need(("dpdk-testpmd",))

    def port_is_up(self, name: str) -> bool:
        assert self.gateway is not None
        return {port["name"]: port["up"] for port in self.gateway.show()["ports"]}[name]

    def wait_for_port(self, name: str, up: bool, seconds: float = 30) -> None:
        """Until `show` says so and the log has told it: the daemon looks once a second."""
        assert self.gateway is not None
        state = "up" if up else "down"
        wait_until(f"port {name} is {state}", lambda: self.port_is_up(name) == up and (
            self.told() or [f"{name}: up"])[-1] == f"{name}: {state}", seconds)

    def told(self) -> list[str]:
        assert self.gateway is not None
        return [line.split("port ", 1)[1] for line in self.gateway.log.read_text().splitlines()
                if line.endswith((": up", ": down")) and "port " in line]

    def assert_told(self, *lines: str) -> None:
        """In this order in the log, as far as ports are concerned."""
        self.assertEqual(tuple(self.told()), lines)


class OtherEnds(ReconnectCase):
    def setUp(self) -> None:
        super().setUp()
        self.side = self.bed.add_client("client")
        self.sock = self.lab.dir / "port.sock"

    def start_peer(self, device: str) -> Process:
        self.peers += 1
        self.sock_of_server(device)
        return self.bed.gateway_space.start(
            f"testpmd-{self.peers}", "dpdk-testpmd", "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry",
            "-m", "128", f"--file-prefix={self.lab.tag}-peer{self.peers}", "--lcores=0@0,1@0", f"--vdev={device}",
            "--", "--forward-mode=icmpecho", "--auto-start", "--stats-period=60", "--total-num-mbufs=8192",
            "--no-flush-rx")

    def sock_of_server(self, device: str) -> None:
        """A server that was killed leaves its socket behind, on which the next one cannot listen."""
        if "role=server" in device or "server=1" in device or ("net_vhost" in device and "client=1" not in device):
            self.sock.unlink(missing_ok=True)

    def check(self, ours: str, theirs: str, peer_first: bool = False) -> None:
        self.peers = 0
        ours, theirs = (text.format(sock=self.sock) for text in (ours, theirs))
        self.gateway = self.bed.gateway()
        self.gateway.config["ports"][1]["device"] = ours
        peer = self.start_peer(theirs) if peer_first else None
        if peer_first and "server=1" not in ours:
            wait_until("the other end listens", self.sock.exists)
        self.gateway.start()
        if peer is None:
            self.wait_for_port("inside", up=False)
            wait_until("the other end's absence is told", lambda: "port inside: down" in self.gateway.log.read_text())
            peer = self.start_peer(theirs)
        self.wait_for_port("inside", up=True)
        wait_until("the host answers", lambda: self.answers(HOST_V4), 20)
        self.assert_pings(self.side.client.space, HOST_V4)
        for _ in range(KILLS):
            peer.signal(signal.SIGKILL)
            peer.wait()
            self.wait_for_port("inside", up=False)
            # Nobody there to answer; the gateway itself does.
            self.assert_silent(self.side.client.space, HOST_V4)
            self.assert_pings(self.side.client.space, bare(GATEWAY_TUNNEL[0]), count=2)
            peer = self.start_peer(theirs)
            self.wait_for_port("inside", up=True)
            wait_until("the host answers again", lambda: self.answers(HOST_V4), 20)
            self.assert_pings(self.side.client.space, HOST_V4)
        self.assertTrue(self.port_is_up("outside"))
        first = () if peer_first else ("inside: down", "inside: up")
        wait_until("the last change is told", lambda: self.gateway.log.read_text().rstrip().endswith(": up"))
        self.assert_told(*first, *(("inside: down", "inside: up") * KILLS))

    def answers(self, address: str) -> bool:
        return self.side.client.space.run("ping", "-c", "1", "-W", "1", address, check=False).returncode == 0

    def test_memif_as_server(self) -> None:
        self.check("net_memif0,role=server,id=0,socket={sock},socket-abstract=no,rsize=10,bsize=2048",
                   "net_memif0,role=client,id=0,socket={sock},socket-abstract=no,rsize=10,bsize=2048")

    def test_memif_as_client(self) -> None:
        self.check("net_memif0,role=client,id=0,socket={sock},socket-abstract=no,rsize=10,bsize=2048",
                   "net_memif0,role=server,id=0,socket={sock},socket-abstract=no,rsize=10,bsize=2048", peer_first=True)

    def test_vhost_as_server(self) -> None:
        self.check("net_vhost0,iface={sock},queues=1", "net_virtio_user0,path={sock},queues=1,queue_size=1024")

    def test_vhost_as_client(self) -> None:
        self.check("net_vhost0,iface={sock},queues=1,client=1",
                   "net_virtio_user0,path={sock},queues=1,queue_size=1024,server=1")

    def test_virtio_user_as_client(self) -> None:
        self.check("net_virtio_user0,path={sock},queues=1,queue_size=1024", "net_vhost0,iface={sock},queues=1",
                   peer_first=True)


class Interfaces(ReconnectCase):
    """Of the kernel: taken down and up, deleted and made again."""

    def check(self, device: str | None) -> None:
        side = self.bed.add_client("client")
        self.gateway = self.bed.gateway()
        if device is not None:
            self.gateway.config["ports"][1]["device"] = device
        self.gateway.start()
        self.assert_pings(side.client.space, HOST_V4)
        space = self.bed.gateway_space
        for _ in range(KILLS):
            space.ip("link", "set", "lan0", "down")
            self.wait_for_port("inside", up=False)
            self.assert_pings(side.client.space, bare(GATEWAY_TUNNEL[0]), count=2)
            space.ip("link", "set", "lan0", "up")
            self.wait_for_port("inside", up=True)
            self.assert_pings(side.client.space, HOST_V4)
        space.ip("link", "del", "lan0")
        self.wait_for_port("inside", up=False)
        self.assert_pings(side.client.space, bare(GATEWAY_TUNNEL[0]), count=2)
        self.bed.plug_host()
        self.lab.raw_port(space, "lan0")
        self.wait_for_port("inside", up=True)
        # The host's end is another, too: the gateway learns its address when it is asked for its own.
        wait_until("the gateway answers the host", lambda: self.bed.host.run(
            "ping", "-c", "1", "-W", "1", bare(GATEWAY_INSIDE[0]), check=False).returncode == 0, 30)
        self.assert_pings(side.client.space, HOST_V4)
        self.assert_told(*(("inside: down", "inside: up") * (KILLS + 1)))

    def test_af_packet(self) -> None:
        self.check(None)

    def test_af_xdp(self) -> None:
        self.check("net_af_xdp0,iface=lan0")


if __name__ == "__main__":
    unittest.main(verbosity=2)
