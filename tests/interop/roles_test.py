#!/usr/bin/env python3
"""wireguard-go and Turnpike speak WireGuard in both roles: handshakes, keys, both address families outside."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from gateway_case import GatewayCase
from testbed import HOST_V4, HOST_V6, TUNNEL_MTU, Side
from wireguard import make_preshared_key, ping

CLIENT_PORT = 51821


class Responder(GatewayCase):
    def both_ways(self, side: Side) -> None:
        self.assert_pings(side.client.space, HOST_V4, HOST_V6)
        self.assert_pings(self.bed.host, side.v4, side.v6)

    def test_a_client_begins(self) -> None:
        side = self.bed.add_client("client-a")
        self.start()
        self.both_ways(side)
        status = side.client.status(self.bed.keys.public)
        peer = self.session_of("client-a")
        self.assertGreater(status.last_handshake, 0)
        self.assertEqual(peer["endpoint"].rsplit(":", 1)[0], side.outside[0])
        # Both sides count whole WireGuard messages, and nothing is lost on these cables.
        self.assertEqual((peer["rx_bytes"], peer["tx_bytes"]), (status.tx_bytes, status.rx_bytes))

    def test_with_a_preshared_key(self) -> None:
        side = self.bed.add_client("client-a", preshared=True)
        self.start()
        self.both_ways(side)

    def test_not_with_another_preshared_key(self) -> None:
        side = self.bed.add_client("client-a", preshared=True)
        side.preshared_key = make_preshared_key()  # what the gateway is told; the client keeps the first
        self.start()
        self.assert_silent(side.client.space, HOST_V4)
        self.assertEqual(side.client.status(self.bed.keys.public).rx_bytes, 0)

    def test_not_for_a_peer_that_is_not_configured(self) -> None:
        known, unknown = self.bed.add_client("client-a"), self.bed.add_client("client-b")
        self.start(peers=[self.bed.peer_config(known)])
        self.assert_silent(unknown.client.space, HOST_V4)
        self.both_ways(known)

    def test_over_ipv6_outside(self) -> None:
        side = self.bed.add_client("client-a", over_ipv6=True, preshared=True)
        self.start()
        self.both_ways(side)
        self.assertTrue(self.session_of("client-a")["endpoint"].startswith(f"[{side.outside[1]}]:"))

    def test_packets_up_to_the_mtu_of_the_tunnel(self) -> None:
        side = self.bed.add_client("client-a")
        self.start()
        # 20 bytes of IPv4 and 8 of ICMP come on top. Around multiples of 16 the padding differs.
        for size in (0, 1, 15, 16, 17, 1269, TUNNEL_MTU - 28 - 1, TUNNEL_MTU - 28):
            with self.subTest(size=size):
                self.assertEqual(ping(side.client.space, HOST_V4, 2, size), (2, 2))
                self.assertEqual(ping(self.bed.host, side.v4, 2, size), (2, 2))


class Initiator(GatewayCase):
    def begin_from_inside(self, over_ipv6: bool, preshared: bool) -> None:
        side = self.bed.add_client("client-a", knows_endpoint=False, listen_port=CLIENT_PORT, preshared=preshared)
        address = f"[{side.outside[1]}]" if over_ipv6 else side.outside[0]
        self.start(peers=[{**self.bed.peer_config(side), "endpoint": f"{address}:{CLIENT_PORT}"}])
        self.assert_pings(self.bed.host, side.v4, side.v6)
        self.assert_pings(side.client.space, HOST_V4, HOST_V6)
        self.session_of("client-a")

    def test_the_inside_begins(self) -> None:
        self.begin_from_inside(over_ipv6=False, preshared=False)

    def test_the_inside_begins_with_a_preshared_key(self) -> None:
        self.begin_from_inside(over_ipv6=False, preshared=True)

    def test_the_inside_begins_over_ipv6(self) -> None:
        self.begin_from_inside(over_ipv6=True, preshared=True)

    def test_a_client_that_is_not_there_yet_is_asked_again(self) -> None:
        side = self.bed.add_client("client-a", knows_endpoint=False, listen_port=CLIENT_PORT)
        self.start(peers=[{**self.bed.peer_config(side), "endpoint": f"{side.outside[0]}:{CLIENT_PORT}"}])
        side.client.process.stop()
        self.assert_silent(self.bed.host, side.v4)
        side.client.restart()
        # The next try comes by itself 5 s after the last (REKEY_TIMEOUT); held packets need no new one.
        sent, received = ping(self.bed.host, side.v4, count=60, wait=10)
        self.assertGreater(received, 0, f"none of {sent} came back")


if __name__ == "__main__":
    unittest.main(verbosity=2)
