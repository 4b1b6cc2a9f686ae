#!/usr/bin/env python3
"""Checksums left to a port that makes and checks them: a tap, whose other end is the kernel, which looks at each one."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import requirements
from gateway_case import GatewayCase
from lab import wait_until
from testbed import HOST_V4, HOST_V6

# Bits of DPDK's RTE_ETH_RX_OFFLOAD_* and RTE_ETH_TX_OFFLOAD_*: the checksums of IPv4 headers and of UDP.
IPV4_CHECKSUM, UDP_CHECKSUM = 1 << 1, 1 << 2


class ChecksumOffload(GatewayCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        requirements.need(("dpdk-telemetry.py",), tun=True)

    def test_outer_checksums_by_the_port_are_right_over_ipv4_and_ipv6(self) -> None:
        sides = [self.bed.add_client("client4"), self.bed.add_client("client6", over_ipv6=True)]
        self.gateway = self.bed.gateway()
        self.gateway.config["ports"][0]["device"] = "net_tap0,iface=tap0"
        self.gateway.start()
        space = self.bed.gateway_space
        # The tap's other end is the cable to the switch, in place of wan0.
        space.ip("link", "set", "wan0", "down")
        space.ip("link", "set", "tap0", "netns", self.bed.switch.full_name)
        # The gateway goes on with the address that the tap had; the switch must not take it for its own.
        self.bed.switch.ip("link", "set", "tap0", "address", "02:00:00:00:00:99")
        self.bed.switch.switch_port("tap0")
        self.bed.switch.ip("link", "set", "tap0", "up")

        port = self.gateway.telemetry("/ethdev/info,0")
        for offloads in (port["rx_offloads"], port["tx_offloads"]):
            self.assertEqual(int(str(offloads), 0) & (IPV4_CHECKSUM | UDP_CHECKSUM), IPV4_CHECKSUM | UDP_CHECKSUM, port)

        for side in sides:
            wait_until("the tap carries frames", lambda side=side: side.client.space.run(
                "ping", "-c", "1", "-W", "1", HOST_V4, check=False).returncode == 0)
            self.assert_pings(side.client.space, HOST_V4, HOST_V6)
            self.assert_pings(side.client.space, HOST_V4, size=1)  # of odd length, and padded
            self.assert_pings(side.client.space, HOST_V4, size=1300)
        drops = self.gateway.show()["drops"]
        self.assertEqual((drops["udp-invalid"], drops["ipv4-header-invalid"]), (0, 0))
        # The kernel counts datagrams whose sum is wrong.
        for side in sides:
            counters = side.client.space.run("cat", "/proc/net/snmp", "/proc/net/snmp6").stdout
            values = self.udp_counters(counters)
            self.assertEqual((values["InCsumErrors"], values["Udp6InCsumErrors"]), (0, 0))

    @staticmethod
    def udp_counters(text: str) -> dict[str, int]:
        lines = text.splitlines()
        names, numbers = (line.split()[1:] for line in lines if line.startswith("Udp: "))
        values = dict(zip(names, map(int, numbers)))
        for line in lines:
            if line.startswith("Udp6"):
                name, number = line.split()
                values[name] = int(number)
        return values


if __name__ == "__main__":
    unittest.main(verbosity=2)
