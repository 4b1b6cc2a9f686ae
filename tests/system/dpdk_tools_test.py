#!/usr/bin/env python3
"""DPDK's own tools beside a running gateway: dpdk-telemetry.py, and with hugepages dpdk-dumpcap.
"""

from __future__ import annotations

import struct
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import hugepages
import requirements
from gateway_case import GatewayCase
from lab import Failed, run, wait_until
from testbed import HOST_V4, LISTEN_PORT

MEMORY_MIB = 128


def udp_ports(capture: Path) -> set[int]:
    """Destination ports of the IPv4 UDP packets in a pcap file as dumpcap -P writes it."""
    data = capture.read_bytes()
    ports, at = set(), 24
    while at + 16 <= len(data):
        length = struct.unpack_from("<I", data, at + 8)[0]
        frame = data[at + 16:at + 16 + length]
        if len(frame) >= 42 and frame[12:14] == b"\x08\x00" and frame[23] == 17:
            ports.add(struct.unpack_from("!H", frame, 36)[0])
        at += 16 + length
    return ports


class DpdkTools(GatewayCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        requirements.need(("dpdk-telemetry.py", "dpdk-dumpcap"))

    def start_with_hugepages(self) -> None:
        arguments = hugepages.provide(self, self.lab, hugepages.pages_of(MEMORY_MIB))
        self.gateway = self.bed.gateway()
        self.gateway.config["dataplane"].update(hugepages=True, memory=MEMORY_MIB, eal=arguments)
        self.gateway.start()

    def test_telemetry_and_dumpcap_see_the_ports(self) -> None:
        side = self.bed.add_client("client")
        self.start_with_hugepages()
        space, capture = self.bed.gateway_space, self.lab.dir / "outside.pcap"
        self.assert_pings(side.client.space, HOST_V4)

        self.assertEqual(self.gateway.telemetry("/ethdev/list"), [0, 1])
        dumpcap = space.start("dumpcap", "dpdk-dumpcap", f"--file-prefix={self.lab.tag}", "-P", "-i", "net_af_packet0",
                              "-w", str(capture))

        def captured() -> bool:
            if not dumpcap.running():
                raise Failed(f"dpdk-dumpcap ended:\n{dumpcap.tail()}")
            self.assert_pings(side.client.space, HOST_V4, count=2)
            return capture.exists() and LISTEN_PORT in udp_ports(capture)

        wait_until("dpdk-dumpcap sees WireGuard on the outside port", captured, 40)
        dumpcap.stop(10)
        self.assert_pings(side.client.space, HOST_V4)


if __name__ == "__main__":
    unittest.main(verbosity=2)
