#!/usr/bin/env python3
"""wireguard-go and Turnpike speak WireGuard in both roles: handshakes, keys, both address families outside."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from gateway_case import GatewayCase
from lab import Failed
from numbered_flow import NumberedFlow
from testbed import HOST_V4, HOST_V6, TUNNEL_MTU, Side
from wireguard import iperf, make_preshared_key, ping

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


class TwoWorkers(GatewayCase):
    def test_two_clients_at_once(self) -> None:
        a, b = self.bed.add_client("client-a", preshared=True), self.bed.add_client("client-b", over_ipv6=True)
        gateway = self.start(workers=2)
        self.assertEqual(len(gateway.show()["workers"]), 2)
        for side in (a, b):
            self.assert_pings(side.client.space, HOST_V4, HOST_V6)
            self.assert_pings(self.bed.host, side.v4, side.v6)
        self.assert_pings(a.client.space, b.v4, b.v6)
        self.assert_pings(b.client.space, a.v4, a.v6)
        self.assertGreater(iperf(self.bed.host, a.client.space, HOST_V4, 1), 0)
        self.assertGreater(iperf(b.client.space, a.client.space, b.v4, 1), 0)

    def test_over_ports_that_have_one_queue(self) -> None:
        """The second worker has no queue at all: it works on the flows that the first one hands to it."""
        sides = [self.bed.add_client(f"client-{letter}") for letter in "abc"]
        self.gateway = self.bed.gateway(workers=2)
        for port in self.gateway.config["ports"]:
            port["device"] = port["device"].removesuffix(",qpairs=2")
        self.gateway.start()
        for side in sides:
            self.assert_pings(side.client.space, HOST_V4, HOST_V6)
            self.assert_pings(self.bed.host, side.v4, side.v6)
        # Many flows inside, so that each worker gets some, and each of them in order.
        flows = [NumberedFlow(self.lab, self.bed.host, [side.client.space], address, f"flow-{side.name}-{n}")
                 for side in sides for n, address in enumerate((side.v4, side.v6))]
        for flow in flows:
            flow.start(interval_ms=2)
        for flow in flows:
            flow.wait_for(1_000)
        for flow in flows:
            sent, arrivals = flow.finish()
            self.assertEqual([a.number for a in arrivals], list(range(sent)), "each once, and in order")
        for side in sides:
            self.assertGreater(iperf(self.bed.host, side.client.space, HOST_V4, 1), 0)
        busy = [worker["cycles_per_packet"] for worker in self.gateway.show()["workers"]]
        self.assertEqual(len(busy), 2)
        self.assertTrue(all(busy), f"both workers had packets: {busy}")

    def test_a_port_that_must_have_a_queue_for_each_is_refused(self) -> None:
        self.bed.add_client("client-a")
        gateway = self.bed.gateway(workers=2)
        inside = gateway.config["ports"][1]
        inside["device"] = inside["device"].removesuffix(",qpairs=2")
        inside["spread"] = "never"
        with self.assertRaises(Failed) as refused:
            gateway.start()
        self.assertIn("has 1 queue, but there are 2 workers", str(refused.exception))


if __name__ == "__main__":
    unittest.main(verbosity=2)
