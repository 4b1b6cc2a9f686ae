#!/usr/bin/env python3
"""What becomes of packets that cannot go on as they are, and the packet path's cases of the kernel's own tests.

Errors reach whoever sent the packet, path MTU discovery works both ways, counters count what the kernel's count.
"""

from __future__ import annotations

import json
import signal
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from gateway_case import GatewayCase
from lab import Namespace, wait_until
from testbed import GATEWAY_INSIDE, GATEWAY_TUNNEL, HOST_V4, HOST_V6, TUNNEL_MTU, Side, bare
from turnpiked import Config
from wireguard import Client, KeyPair, Peer, iperf, ping

CLIENT_PORT = 51000
ABSENT_V4, ABSENT_V6 = "10.8.0.99", "fd00:8::99"
NOBODYS_V4, NOBODYS_V6 = "10.8.0.200", "fd00:8::200"
INSIDE_V4, INSIDE_V6 = (bare(a) for a in GATEWAY_INSIDE)
TUNNEL_V4, TUNNEL_V6 = (bare(a) for a in GATEWAY_TUNNEL)
PING_BYTES = 28  # IPv4 and ICMP around what `ping -s` counts
MESSAGE_BYTES = 32  # around the text of a data message


def ping_fragmented(space: Namespace, address: str, size: int) -> int:
    """How many of three pings come back that every router may fragment."""
    out = space.run("ping", "-n", "-q", "-M", "dont", "-c", "3", "-i", "0.2", "-W", "5", "-s", str(size), address,
                    check=False).stdout
    return next(int(line.split()[3]) for line in out.splitlines() if "packets transmitted" in line)


def say(space: Namespace, address: str, *words: str) -> str:
    """What one ping says."""
    done = space.run("ping", "-n", "-c", "1", "-W", "9", *words, address, check=False, timeout=30)
    return done.stdout + done.stderr


class Errors(GatewayCase):
    def assert_said(self, space: Namespace, address: str, words: tuple[str, ...], *parts: str) -> None:
        said = say(space, address, *words)
        for part in parts:
            self.assertIn(part, said, f"{space.name} pings {address} {words}")

    def known_mtu(self, address: str) -> int:
        """What the host has learnt of the way to it."""
        route = json.loads(self.bed.host.ip("-j", "route", "get", address))[0]
        return int(route.get("metrics", [{}])[0].get("mtu", 0))

    def test_who_sent_a_packet_that_cannot_go_on_is_told(self) -> None:
        side = self.bed.add_client("client-a")
        absent: Config = {"name": "absent", "public_key": KeyPair.make().public,
                          "allowed_ips": [f"{ABSENT_V4}/32", f"{ABSENT_V6}/128"]}
        gateway = self.start(peers=[self.bed.peer_config(side), absent])
        host, client = self.bed.host, side.client.space
        self.assert_pings(client, HOST_V4, HOST_V6)

        with self.subTest("no peer has the address, or the peer is nowhere"):
            for address in (NOBODYS_V4, ABSENT_V4):
                self.assert_said(host, address, (), f"From {INSIDE_V4}", "Destination Host Unreachable")
            for address in (NOBODYS_V6, ABSENT_V6):
                self.assert_said(host, address, (), f"From {INSIDE_V6}", "Address unreachable")
        with self.subTest("from a peer to another that is nowhere"):
            self.assert_said(client, ABSENT_V4, (), f"From {TUNNEL_V4}", "Destination Host Unreachable")
            self.assert_said(client, ABSENT_V6, (), f"From {TUNNEL_V6}", "Address unreachable")
        with self.subTest("a host inside that does not answer"):
            for address, from_, what in (("10.0.0.77", TUNNEL_V4, "Destination Host Unreachable"),
                                         ("fd00:1::77", TUNNEL_V6, "Address unreachable")):
                self.assert_said(client, address, (), f"From {from_}", what)
        with self.subTest("traceroute shows the gateway"):
            self.assert_said(host, side.v4, ("-t", "1"), f"From {INSIDE_V4}", "Time to live exceeded")
            self.assert_said(host, side.v6, ("-t", "1"), f"From {INSIDE_V6}", "Hop limit")
            self.assert_said(client, HOST_V4, ("-t", "1"), f"From {TUNNEL_V4}", "Time to live exceeded")
            self.assert_said(client, HOST_V6, ("-t", "1"), f"From {TUNNEL_V6}", "Hop limit")
            self.assertEqual(ping(host, side.v4, 1), (1, 1))
        with self.subTest("too big for the tunnel"):
            too_big = str(1500 - PING_BYTES)
            self.assert_said(host, side.v4, ("-M", "do", "-s", too_big), f"From {INSIDE_V4}", f"mtu = {TUNNEL_MTU}")
            self.assertEqual(self.known_mtu(side.v4), TUNNEL_MTU)
            self.assert_said(host, side.v6, ("-M", "do", "-s", str(1500 - 48)), f"From {INSIDE_V6}",
                             f"mtu={TUNNEL_MTU}")
            self.assertEqual(self.known_mtu(side.v6), TUNNEL_MTU)
        host.ip("route", "flush", "cache")
        host.ip("-6", "route", "flush", "cache")
        with self.subTest("too big for the tunnel, but may be fragmented"):
            before = gateway.peer("client-a")["tx_bytes"]
            self.assertEqual(ping_fragmented(host, side.v4, 1500 - PING_BYTES), 3)
            # Each went as two fragments.
            self.assertGreaterEqual(gateway.peer("client-a")["tx_bytes"] - before, 3 * (1500 + 2 * MESSAGE_BYTES))
        with self.subTest("TCP finds the MTU of its path"):
            # The client promises segments of 1,500 bytes; only the gateway knows better.
            client.ip("route", "replace", "10.0.0.0/24", "dev", side.client.interface, "advmss", "1460")
            client.ip("-6", "route", "replace", "fd00:1::/64", "dev", side.client.interface, "advmss", "1440")
            for port, address in ((5301, side.v4), (5302, side.v6)):
                before = gateway.show()["drops"].get("packet-too-big", 0)
                iperf(client, host, address, length_bytes=4 << 20, port=port)
                self.assertGreater(gateway.show()["drops"]["packet-too-big"], before)
                self.assertEqual(self.known_mtu(address), TUNNEL_MTU)
        with self.subTest("all were counted by name, and no answer was held back"):
            drops = gateway.show()["drops"]
            for reason, count in (("no-allowed-ip", 2), ("no-endpoint", 4), ("ttl-exceeded", 4)):
                self.assertEqual(drops.get(reason, 0), count, reason)
            self.assertEqual(drops.get("icmp-rate-limited", 0), 0)

    def test_the_inside_may_be_narrower_than_the_tunnel(self) -> None:
        side = self.bed.add_client("client-a")
        self.gateway = self.bed.gateway()
        self.gateway.config["ports"][1]["mtu"] = 1300
        self.bed.host.ip("link", "set", "eth0", "mtu", "1300")
        self.gateway.start()
        client = side.client.space
        self.assert_pings(client, HOST_V4, HOST_V6)
        self.assert_said(client, HOST_V4, ("-M", "do", "-s", str(1400 - PING_BYTES)), f"From {TUNNEL_V4}", "mtu = 1300")
        self.assert_said(client, HOST_V6, ("-M", "do", "-s", str(1400 - 48)), f"From {TUNNEL_V6}", "mtu=1300")
        client.ip("route", "flush", "cache")
        self.assertEqual(ping_fragmented(client, HOST_V4, 1400 - PING_BYTES), 3)


class KernelCases(GatewayCase):
    """After tools/testing/selftests/wireguard/netns.sh, as far as it is about packets; written anew."""

    def add_initiated(self, name: str) -> tuple[Side, Config]:
        """A client that waits until the gateway begins."""
        side = self.bed.add_client(name, knows_endpoint=False, listen_port=CLIENT_PORT)
        return side, {**self.bed.peer_config(side), "endpoint": f"{side.outside[0]}:{CLIENT_PORT}"}

    def counters(self, name: str) -> tuple[int, int]:
        assert self.gateway is not None
        peer = self.gateway.peer(name)
        return peer["rx_bytes"], peer["tx_bytes"]

    def set_peer(self, side: Side, *words: str) -> None:
        self.bed.gateway_space.run("wg", "set", "wg0", "peer", side.client.keys.public, *words)

    def test_counters_keepalives_owners_and_tunnels_in_tunnels(self) -> None:
        a = self.bed.add_client("client-a")
        b, b_config = self.add_initiated("client-b")
        gateway = self.start(peers=[self.bed.peer_config(a), b_config])

        with self.subTest("ten pings: 1372 the one way, 1428 or 1460 the other"):
            # Ten times 96 + 32, the response of 92, the initiation of 148, and maybe a keepalive of 32 in between.
            self.assert_pings(a.client.space, HOST_V4, count=10)
            self.assertIn(self.counters("client-a"), ((1428, 1372), (1460, 1372)))
            self.assert_pings(self.bed.host, b.v4, count=10)
            self.assertIn(self.counters("client-b"), ((1372, 1428), (1372, 1460)))
        with self.subTest("each peer reaches the other through the hub"):
            self.assert_pings(a.client.space, b.v4, b.v6)
            self.assert_pings(b.client.space, a.v4, a.v6)
        with self.subTest("persistent keepalive: off, on, off"):
            wait_until("the last passive keepalives are sent", lambda: self.quiet("client-b", 2.5), 60)
            self.set_peer(b, "persistent-keepalive", "1")
            _, before = self.counters("client-b")
            wait_until("keepalives without traffic", lambda: self.counters("client-b")[1] >= before + 3 * MESSAGE_BYTES)
            self.set_peer(b, "persistent-keepalive", "0")
            self.assertTrue(self.quiet("client-b", 2.5))
        with self.subTest("edits of allowed IPs under traffic lose nothing"):
            pings = a.client.space.start("ping-edits", "ping", "-n", "-i", "0.05", HOST_V4)
            for _ in range(10):
                self.set_peer(a, "allowed-ips", f"{a.v4}/32,{a.v6}/128,203.0.113.0/24")
                self.set_peer(a, "allowed-ips", f"{a.v4}/32,{a.v6}/128")
            pings.signal(signal.SIGINT)
            pings.wait()
            summary = next(line for line in pings.tail().splitlines() if "packets transmitted" in line)
            sent, received = (int(word) for word in summary.split()[:4] if word.isdigit())
            self.assertGreaterEqual(received, sent - 1, summary)  # one may be under way at the end
        with self.subTest("a more specific prefix of another peer wins, until it goes"):
            self.set_peer(a, "allowed-ips", "10.8.0.0/28,fd00:8::/64")  # and b's /32 within it
            self.assert_pings(self.bed.host, a.v4, b.v4)
            narrow = KeyPair.make().public
            self.bed.gateway_space.run("wg", "set", "wg0", "peer", narrow, "allowed-ips", f"{a.v4}/32")
            self.assertIn("Destination Host Unreachable", say(self.bed.host, a.v4))
            # Nor may a send from there any more.
            self.assert_silent(a.client.space, HOST_V4)
            self.bed.gateway_space.run("wg", "set", "wg0", "peer", narrow, "remove")
            self.assert_pings(self.bed.host, a.v4)
            self.assert_pings(a.client.space, HOST_V4)
        with self.subTest("a peer may own the very address at which it is reached"):
            self.set_peer(a, "allowed-ips", f"{a.v4}/32,{a.v6}/128,{a.outside[0]}/32")
            self.bed.host.route(f"{a.outside[0]}/32", "via", INSIDE_V4)
            self.assert_pings(self.bed.host, a.v4, a.outside[0])
        with self.subTest("a tunnel between two peers, through ours"):
            self.nest(a, b)
        with self.subTest("one set in which the taker comes before the giver"):
            taker = KeyPair.make().public
            self.bed.gateway_space.run("wg", "set", "wg0", "peer", taker, "allowed-ips", f"{b.v4}/32", "peer",
                                       b.client.keys.public, "remove")
            self.assertEqual([p["public_key"] for p in gateway.show()["peers"] if f"{b.v4}/32" in p["allowed_ips"]],
                             [taker])
            self.assertIn("Destination Host Unreachable", say(self.bed.host, b.v4))

    def quiet(self, name: str, seconds: float) -> bool:
        """Nothing is counted for so long."""
        before = self.counters(name)
        time.sleep(seconds)
        return self.counters(name) == before

    def nest(self, a: Side, b: Side) -> None:
        ends = []
        for side, address in ((a, "192.168.99.1/24"), (b, "192.168.99.2/24")):
            ends.append(Client(self.lab, side.client.space, KeyPair.make(), (address,), CLIENT_PORT + 1,
                               TUNNEL_MTU - 80, "wg1"))
        # Each is the other's peer at its address in our tunnel, and is told so only once: the other finds out.
        ends[0].set_peer(Peer(ends[1].keys.public, ("192.168.99.2/32",), f"{b.v4}:{CLIENT_PORT + 1}"), routes=False)
        ends[1].set_peer(Peer(ends[0].keys.public, ("192.168.99.1/32",)), routes=False)
        # The outer client lets through what comes from the other one.
        for side, other in ((a, b), (b, a)):
            self.assertEqual(ping(side.client.space, other.v4, 1), (1, 1))
        for size in (56, TUNNEL_MTU - 80 - PING_BYTES):
            self.assertEqual(ping(ends[0].space, "192.168.99.2", 3, size), (3, 3), f"nested, {size} bytes")

    def test_padding_never_goes_beyond_the_mtu(self) -> None:
        side = self.bed.add_client("client-a")
        for mtu in (1299, 1300):
            with self.subTest(mtu=mtu):
                self.gateway = self.bed.gateway() if self.gateway is None else self.gateway
                self.gateway.config["tunnels"][0]["mtu"] = mtu
                self.gateway.start()
                # 1269 + 28 are 1297 bytes: padded to 16 they would be 1312.
                wait_until("a session", lambda: ping(side.client.space, HOST_V4, 1)[1] == 1, 60)
                before = self.counters("client-a")[1]
                self.assertEqual(ping(self.bed.host, side.v4, 4, 1269), (4, 4))
                self.assertEqual(self.counters("client-a")[1] - before, 4 * (MESSAGE_BYTES + mtu))
                self.assertIn(f"mtu = {mtu}", say(self.bed.host, side.v4, "-M", "do", "-s", str(mtu + 1 - PING_BYTES)))
                self.bed.host.ip("route", "flush", "cache")
                if mtu == 1299:
                    self.assertEqual(self.gateway.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
