#!/usr/bin/env python3
"""Stock clients and a gateway with two workers: with a queue of each port for each, and with one queue for both."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from gateway_case import GatewayCase
from lab import Failed
from numbered_flow import NumberedFlow
from testbed import HOST_V4, HOST_V6
from wireguard import iperf


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

    def note_busy_workers(self) -> None:
        """What is shown is of the last second, in which all flows may be one worker's."""
        workers = self.gateway.show()["workers"]
        self.assertEqual(len(workers), 2)
        self.busy_workers |= {i for i, worker in enumerate(workers) if worker["cycles_per_packet"] > 0}

    def test_over_ports_that_have_one_queue(self) -> None:
        """The second worker has no queue at all: it works on the flows that the first one hands to it."""
        sides = [self.bed.add_client(f"client-{letter}") for letter in "abc"]
        self.gateway = self.bed.gateway(workers=2)
        for port in self.gateway.config["ports"]:
            port["device"] = port["device"].removesuffix(",qpairs=2")
        self.gateway.start()
        self.busy_workers: set[int] = set()
        for side in sides:
            self.assert_pings(side.client.space, HOST_V4, HOST_V6)
            self.assert_pings(self.bed.host, side.v4, side.v6)
        self.note_busy_workers()
        # Many flows inside, so that each worker gets some, and each of them in order.
        flows = [NumberedFlow(self.lab, self.bed.host, [side.client.space], address, f"flow-{side.name}-{n}")
                 for side in sides for n, address in enumerate((side.v4, side.v6))]
        for flow in flows:
            flow.start(interval_ms=2)
        for flow in flows:
            flow.wait_for(1_000)
        self.note_busy_workers()
        for flow in flows:
            sent, arrivals = flow.finish()
            self.assertEqual([a.number for a in arrivals], list(range(sent)), "each once, and in order")
        for side in sides:
            self.assertGreater(iperf(self.bed.host, side.client.space, HOST_V4, 1), 0)
            self.note_busy_workers()
        self.assertEqual(self.busy_workers, {0, 1}, "both workers had packets")

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
