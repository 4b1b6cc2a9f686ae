#!/usr/bin/env python3
"""The gateway among real hosts: its own addresses, roaming, restarts, and packets that it must not pass."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import translator
from gateway_case import GatewayCase
from lab import wait_until
from testbed import BEHIND, GATEWAY_INSIDE, GATEWAY_OUTSIDE, GATEWAY_TUNNEL, HOST_V4, HOST_V6, LISTEN_PORT, bare
from wireguard import Peer, ping

# Datagrams of every length and of every message type with the right length, all of random content.
_NOISE = """
import os, random, socket, sys
address, port, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
pick = random.Random(seed)
family = socket.AF_INET6 if ":" in address else socket.AF_INET
out = socket.socket(family, socket.SOCK_DGRAM)
for length in list(range(1, 200)) + [148, 92, 64, 32, 1400, 1472] * 20:
    body = bytearray(pick.randbytes(length))
    if length >= 4 and pick.random() < 0.7:
        body[:4] = pick.choice([b"\\1", b"\\2", b"\\3", b"\\4"]) + bytes(3)
    out.sendto(bytes(body), (address, port))
"""


class OwnAddresses(GatewayCase):
    def test_the_gateway_answers_pings_for_its_own_addresses(self) -> None:
        side = self.bed.add_client("client-a")
        self.start()
        self.assert_pings(self.bed.host, *(bare(a) for a in GATEWAY_INSIDE))
        self.assert_pings(side.client.space, *(bare(a) for a in GATEWAY_OUTSIDE))
        self.assert_pings(side.client.space, *(bare(a) for a in GATEWAY_TUNNEL))

    def test_it_answers_for_no_other_address(self) -> None:
        self.bed.add_client("client-a")
        self.start()
        self.assert_silent(self.bed.host, "10.0.0.77")


class Sources(GatewayCase):
    def test_a_source_that_the_peer_does_not_own_is_dropped_and_counted(self) -> None:
        side = self.bed.add_client("client-a")
        self.start()
        self.assert_pings(side.client.space, HOST_V4)
        side.client.space.address(side.client.interface, "10.8.0.99/32")
        before = self.drops()
        self.assert_silent(side.client.space, HOST_V4, source="10.8.0.99")
        self.assertGreaterEqual(self.drops(), before + 3)
        self.assert_pings(side.client.space, HOST_V4)

    def test_a_destination_that_no_peer_owns_is_dropped_and_counted(self) -> None:
        self.bed.add_client("client-a")
        self.start()
        before = self.drops()
        self.assert_silent(self.bed.host, "10.8.0.200")
        self.assertGreaterEqual(self.drops(), before + 3)


class Roaming(GatewayCase):
    def test_a_client_that_changes_address_and_port_is_followed(self) -> None:
        side = self.bed.add_client("client-a")
        gateway = self.start()
        self.assert_pings(side.client.space, HOST_V4)
        first = gateway.peer("client-a")["endpoint"]
        space = side.client.space
        space.ip("address", "flush", "dev", "eth0", "scope", "global")
        space.address("eth0", "192.0.2.200/24")
        side.client.wg("set", side.client.interface, "listen-port", "44444")
        # The new endpoint reaches the workers by way of the session thread; an answer that leaves before it does
        # still goes to the old address. That is one packet at most: the next comes 200 ms later.
        self.assertGreaterEqual(ping(space, HOST_V4, 5, wait=2)[1], 4)
        self.assertEqual(gateway.peer("client-a")["endpoint"], "192.0.2.200:44444")
        self.assert_pings(space, HOST_V4, HOST_V6)
        self.assertNotEqual(first, "192.0.2.200:44444")
        self.assert_pings(self.bed.host, side.v4)


class Translated(GatewayCase):
    """A translator of addresses between client and gateway, which only one of the two can open."""

    FORGET_S = 3.0

    def test_the_gateways_own_keepalives_hold_a_mapping_open(self) -> None:
        side = self.bed.add_client("client-a", knows_endpoint=False, listen_port=51821)
        space, address = self.lab.namespace("office"), "192.0.2.60"
        self.bed.plug(space, "eth0", "office")
        space.address("eth0", f"{address}/24")
        mapping = translator.start(space, address, side.outside[0], 51821, self.FORGET_S)
        gateway = self.start(peers=[{**self.bed.peer_config(side), "endpoint": f"{address}:{translator.LISTEN_PORT}"}])
        self.assert_pings(self.bed.host, side.v4)
        wait_until("the mapping is forgotten", lambda: "forgot" in mapping.tail(), 30)
        self.assert_silent(side.client.space, HOST_V4)
        gateway.cli("peer", "set", "wg0", "client-a", "--persistent-keepalive", "1")
        # It speaks at once, and from then on the client, which cannot begin, is heard at any time.
        wait_until("the client is heard", lambda: ping(side.client.space, HOST_V4, 1, wait=2) == (1, 1), 20)
        time.sleep(3 * self.FORGET_S)
        self.assert_pings(side.client.space, HOST_V4)

    def test_persistent_keepalives_hold_a_translators_mapping_open(self) -> None:
        side = self.bed.add_client("client-a", knows_endpoint=False)
        space, address = self.lab.namespace("home"), "192.0.2.60"
        self.bed.plug(space, "eth0", "home")
        space.address("eth0", f"{address}/24")
        mapping = translator.start(space, address, bare(GATEWAY_OUTSIDE[0]), LISTEN_PORT, self.FORGET_S)
        peer = Peer(self.bed.keys.public, BEHIND, f"{address}:{translator.LISTEN_PORT}")
        side.client.set_peer(peer)
        gateway = self.start()
        self.assert_pings(side.client.space, HOST_V4)
        first = gateway.peer("client-a")["endpoint"]
        self.assertEqual(first.rsplit(":", 1)[0], address)
        # The passive keepalive of the client comes after ten seconds: too late for this translator.
        wait_until("the mapping is forgotten", lambda: "forgot" in mapping.tail(), 30)
        self.assert_silent(self.bed.host, side.v4)
        # It speaks again, through another port, and is followed.
        self.assert_pings(side.client.space, HOST_V4)
        second = gateway.peer("client-a")["endpoint"]
        self.assertNotEqual(second, first)
        self.assert_pings(self.bed.host, side.v4)
        side.client.set_peer(dataclasses.replace(peer, keepalive=1))
        self.assert_pings(side.client.space, HOST_V4)
        third = gateway.peer("client-a")["endpoint"]
        time.sleep(3 * self.FORGET_S)
        self.assert_pings(self.bed.host, side.v4)
        self.assertEqual(gateway.peer("client-a")["endpoint"], third)


class Restarts(GatewayCase):
    def test_a_client_that_restarts_comes_back(self) -> None:
        side = self.bed.add_client("client-a", preshared=True)
        self.start()
        self.assert_pings(side.client.space, HOST_V4)
        side.client.restart()
        self.assert_pings(side.client.space, HOST_V4, HOST_V6)
        self.assert_pings(self.bed.host, side.v4, side.v6)

    def test_a_gateway_that_restarts_comes_back(self) -> None:
        side = self.bed.add_client("client-a", preshared=True)
        gateway = self.start()
        self.assert_pings(side.client.space, HOST_V4)
        self.assertEqual(gateway.stop(), 0)
        gateway.start()
        # The client finds out by itself: 15 s without an answer make it begin anew (WireGuard paper, 6.5).
        wait_until("the client's new session", lambda: ping(side.client.space, HOST_V4, 5, wait=2)[1] == 5, 60)
        self.session_of("client-a")


class HostilePackets(GatewayCase):
    def test_random_datagrams_are_dropped_without_an_answer(self) -> None:
        side = self.bed.add_client("client-a")
        gateway = self.start()
        self.assert_pings(side.client.space, HOST_V4)
        seed = int(os.environ.get("TURNPIKE_SEED", "0")) or int.from_bytes(os.urandom(4))
        before = self.drops()
        with self.subTest(seed=seed):
            for address in GATEWAY_OUTSIDE:
                side.client.space.run(sys.executable, "-c", _NOISE, bare(address), str(LISTEN_PORT), str(seed))
            wait_until("the drops are counted", lambda: self.drops() > before)
            gateway.check_alive()
            self.assert_pings(side.client.space, HOST_V4, HOST_V6)


if __name__ == "__main__":
    unittest.main(verbosity=2)
