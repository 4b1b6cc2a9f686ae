#!/usr/bin/env python3
"""The demo's network and traffic work when the gateway is wireguard-go and the kernel's own routing.

So a step that fails in the demo is Turnpike's fault and not that of the network around it.
"""

from __future__ import annotations

import sys
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import requirements
import scenario
from lab import Failed, Lab
from testbed import GATEWAY_INSIDE, GATEWAY_OUTSIDE, HOST_V4, LISTEN_PORT, TUNNEL_MTU, Testbed
from transfer import fetch_file
from wireguard import Client, Peer


def setUpModule() -> None:
    requirements.need(("ip", "ethtool", "wg", "wireguard-go", "ping", "iperf3"), tun=True)


def hub(bed: Testbed) -> Client:
    """A gateway of stock parts in the gateway's place."""
    space = bed.gateway_space
    space.address("wan0", *GATEWAY_OUTSIDE)
    space.address("lan0", *GATEWAY_INSIDE)
    space.sysctl("net.ipv4.ip_forward", "1")
    space.sysctl("net.ipv6.conf.all.forwarding", "1")
    client = Client(bed.lab, space, bed.keys, ("10.8.0.1/32", "fd00:8::1/128"), LISTEN_PORT, TUNNEL_MTU)
    for side in bed.sides:
        client.set_peer(Peer(side.client.keys.public, (f"{side.v4}/32", f"{side.v6}/128"),
                             preshared_key=side.preshared_key))
    return client


class TestbedWithoutTurnpike(unittest.TestCase):
    def test_every_step_of_the_demo_works_through_a_stock_gateway(self) -> None:
        with Lab("testbed") as lab:
            bed = Testbed(lab)
            a, b = bed.add_client("client-a", preshared=True), bed.add_client("client-b", over_ipv6=True)
            hub(bed)
            for step in scenario.steps(bed, a, b, seconds=1):
                with self.subTest(step=step.title):
                    print(step.title, "...", step.run(), flush=True)

    def test_no_step_works_without_a_gateway(self) -> None:
        """Nothing reaches the host around the gateway, so a step that passes has passed through it."""
        with Lab("testbed") as lab:
            bed = Testbed(lab)
            a, b = bed.add_client("client-a"), bed.add_client("client-b")
            for step in list(scenario.steps(bed, a, b))[:3]:
                with self.assertRaises(Failed):
                    step.run()

    def test_a_changed_file_is_noticed(self) -> None:
        def other_checksum(directory: Path, length_bytes: int) -> str:
            (directory / "payload").write_bytes(bytes(length_bytes))
            return "0" * 64

        with Lab("testbed") as lab, mock.patch("transfer.make_file", other_checksum):
            bed = Testbed(lab)
            with self.assertRaisesRegex(Failed, "left with 0000"):
                fetch_file(lab, bed.host, bed.host, HOST_V4, 1000)


if __name__ == "__main__":
    unittest.main(verbosity=2)
