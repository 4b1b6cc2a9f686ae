#!/usr/bin/env python3
"""A virtual machine inside, attached by vhost-user: its kernel leaves the checksums of TCP and UDP to the port, and behind
the tunnel they are right.

Where packets go into the tunnel as the guest left them, pings still come back, but no datagram arrives and no connection
comes to be: the client counts them all as InCsumErrors.
"""

from __future__ import annotations

import re
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import requirements
from gateway_case import GatewayCase
from kernel_guest import PROGRAMS, KernelGuest, VhostUser
from lab import wait_until
from testbed import GATEWAY_INSIDE, HOST, HOST_V4, HOST_V6, bare
from transfer import fetch, payload_url, serve_file
from turnpiked import BUILD
from wireguard import ping

FILE_BYTES = 500_000
HTTP_PORT = 8080
SYSLOG_PORT = 5140

# Prints each datagram of both families.
HEAR = f"""
import socket
hearing = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
hearing.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
hearing.bind(("::", {SYSLOG_PORT}))
print("hears", flush=True)
while True:
    datagram, source = hearing.recvfrom(65536)
    print(source[0], datagram.decode(), flush=True)
"""

COUNTERS = "cat /proc/net/snmp /proc/net/snmp6"


def wrong_checksums(counters: str) -> dict[str, int]:
    """What a kernel's COUNTERS say of packets whose checksum was wrong, by protocol."""
    wrong: dict[str, int] = {}
    lines = counters.splitlines()
    for names, values in zip(lines, lines[1:]):
        # Of IPv4: a line of names, then one of numbers, both behind the protocol.
        if "InCsumErrors" in names.split():
            wrong[names.split(":")[0]] = int(values.split()[names.split().index("InCsumErrors")])
    wrong |= {name: int(value) for name, value in re.findall(r"^(\w+)InCsumErrors\s+(\d+)$", counters, re.M)}
    return wrong


class VhostGuest(GatewayCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        requirements.need(PROGRAMS, tun=True)

    def setUp(self) -> None:
        super().setUp()
        self.side = self.bed.add_client("client")
        self.client = self.side.client.space
        self.gateway = self.bed.gateway()
        socket = self.lab.dir / "inside.sock"
        self.gateway.config["ports"][1]["device"] = f"net_vhost0,iface={socket},queues=1"
        self.gateway.start()
        # It takes the place of the host inside.
        ethtool = Path(requirements.find_program("ethtool") or "")
        self.guest = KernelGuest(self.lab, self.bed.host, VhostUser(socket), BUILD / "guest-kernel", [ethtool])
        self.addCleanup(self.guest.close)
        run = self.guest.run
        run(f"ip address add {HOST[0]} dev eth0 && ip address add {HOST[1]} dev eth0")
        run(f"ip route add default via {bare(GATEWAY_INSIDE[0])} && ip -6 route add default via {bare(GATEWAY_INSIDE[1])}")

    def test_checksums_that_a_guest_leaves_to_its_port_are_right_behind_the_tunnel(self) -> None:
        # Else this shows nothing.
        self.assertRegex(self.guest.run("ethtool -k eth0"), r"(?m)^tx-checksumming: on$")

        # The client begins: the gateway is not told where it is.
        wait_until("the guest's port carries frames", lambda: ping(self.client, HOST_V4, 1)[1] == 1, 60)
        self.assert_pings(self.client, HOST_V4, HOST_V6)
        for address in (self.side.v4, self.side.v6):
            self.assertEqual(self.guest.ping(address, 5), 5, f"the guest pings {address}")

        try:
            self.datagrams()
            self.files_to_the_guest()
            self.files_from_the_guest()
        finally:  # it says why something did not arrive
            self.assert_no_wrong_checksums()

    def assert_no_wrong_checksums(self) -> None:
        for name, counters in (("client", self.client.run("sh", "-c", COUNTERS).stdout),
                               ("guest", self.guest.run(COUNTERS))):
            wrong = wrong_checksums(counters)
            self.assertGreaterEqual(wrong.keys(), {"Tcp", "Udp", "Udp6"}, counters)
            self.assertEqual(set(wrong.values()), {0}, f"{name}: {wrong}")
        assert self.gateway is not None
        self.assertEqual(self.gateway.show()["drops"]["udp-invalid"], 0)

    def datagrams(self) -> None:
        hearing = self.client.start("hearing", sys.executable, "-c", HEAR)
        wait_until("the client hears", lambda: "hears" in hearing.log.read_text())
        self.guest.run(f"syslogd -R {self.side.v4}:{SYSLOG_PORT} -R [{self.side.v6}]:{SYSLOG_PORT}")
        wait_until("the guest has a log", lambda: self.guest.run("test -S /dev/log; echo $?").strip() == "0", 60)
        self.guest.run("logger a word from the guest")
        for source in (f"::ffff:{HOST_V4}", HOST_V6):
            wait_until(f"a datagram from {source} arrives",
                       lambda source=source: re.search(rf"(?m)^{source} .*a word from the guest", hearing.log.read_text())
                       is not None, 60)

    def files_to_the_guest(self) -> None:
        for address in (self.side.v4, self.side.v6):
            with serve_file(self.lab, self.client, address, FILE_BYTES, HTTP_PORT) as expected:
                got = self.guest.run(f"wget -q -O - {payload_url(address, HTTP_PORT)} | sha256sum", seconds=180)
            self.assertEqual(got.split()[0], expected, address)

    def files_from_the_guest(self) -> None:
        self.guest.run(f"mkdir /srv && head -c {FILE_BYTES} /dev/urandom > /srv/payload")
        expected = self.guest.run("sha256sum /srv/payload").split()[0]
        self.guest.run(f"httpd -p {HTTP_PORT} -h /srv")
        for address in (HOST_V4, HOST_V6):
            self.assertEqual(fetch(self.client, payload_url(address, HTTP_PORT)), expected, address)


if __name__ == "__main__":
    unittest.main(verbosity=2)
