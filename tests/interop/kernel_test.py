#!/usr/bin/env python3
"""The Linux kernel's WireGuard, in a guest of its own, and Turnpike: both roles, both families, roaming, restarts."""

from __future__ import annotations

import shutil
import sys
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import requirements
from gateway_case import GatewayCase
from kernel_guest import PROGRAMS, KernelGuest, Tap
from lab import wait_until
from testbed import GATEWAY_OUTSIDE, GATEWAY_TUNNEL, HOST_V4, HOST_V6, LISTEN_PORT, TUNNEL_MTU, bare
from turnpiked import BUILD, Config
from wireguard import KeyPair, make_preshared_key, ping, write_secret

OUTSIDE = ("192.0.2.50", "2001:db8:0:1::50")
INSIDE = ("10.8.0.50", "fd00:8::50")
PORT = 51821


class Kernel(GatewayCase):
    """One boot for all: it takes a minute or more where the processor is emulated."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        requirements.need(PROGRAMS, tun=True)

    def setUp(self) -> None:
        super().setUp()
        self.guest = KernelGuest(self.lab, self.bed.switch, Tap("guest0"), BUILD / "guest-kernel")
        self.addCleanup(self.guest.close)
        self.bed.switch.switch_port("guest0")
        self.guest.run(f"ip address add {OUTSIDE[0]}/24 dev eth0 && ip address add {OUTSIDE[1]}/64 dev eth0")
        self.keys = KeyPair.make()
        self.preshared_key = make_preshared_key()

    # The kernel's side.

    def make_interface(self, endpoint: str | None, preshared: bool) -> None:
        run = self.guest.run
        run(f"echo {self.keys.private} > /run/key; echo {self.preshared_key} > /run/psk")
        run("ip link add wg0 type wireguard")
        words = f"wg set wg0 listen-port {PORT} private-key /run/key peer {self.bed.keys.public}"
        words += " allowed-ips 10.0.0.0/8,fd00::/16"
        words += " preshared-key /run/psk" if preshared else ""
        words += f" endpoint {endpoint}" if endpoint else ""
        run(words)
        run(f"ip address add {INSIDE[0]}/32 dev wg0 && ip address add {INSIDE[1]}/128 dev wg0")
        run(f"ip link set wg0 mtu {TUNNEL_MTU} && ip link set wg0 up")
        run("ip route add 10.0.0.0/8 dev wg0 && ip -6 route add fd00::/16 dev wg0")

    def peer(self, preshared: bool, endpoint: str | None) -> Config:
        peer: Config = {"name": "kernel", "public_key": self.keys.public,
                        "allowed_ips": [f"{INSIDE[0]}/32", f"{INSIDE[1]}/128"]}
        if preshared:
            peer["preshared_key_file"] = str(write_secret(self.lab.dir / "kernel.psk", self.preshared_key))
        if endpoint:
            peer["endpoint"] = endpoint
        return peer

    @contextmanager
    def session(self, *, kernel_knows: str | None = None, gateway_knows: str | None = None,
                preshared: bool = True) -> Iterator[None]:
        """Both sides fresh, and both gone afterwards."""
        self.make_interface(kernel_knows, preshared)
        gateway = self.bed.gateway(peers=[self.peer(preshared, gateway_knows)])
        self.gateway = gateway
        gateway.start()
        try:
            yield
            gateway.check_alive()
        finally:
            self.assertEqual(gateway.stop(), 0)
            self.gateway = None
            self.guest.run("ip link delete wg0")
            shutil.rmtree(gateway.dir)

    # What must work.

    def from_kernel(self, *addresses: str, count: int = 5, size: int = 56) -> None:
        for address in addresses or (HOST_V4, HOST_V6, bare(GATEWAY_TUNNEL[0])):
            self.assertEqual(self.guest.ping(address, count, size), count, f"the kernel pings {address}")

    def from_inside(self) -> None:
        self.assert_pings(self.bed.host, *INSIDE)

    def endpoint(self) -> str:
        assert self.gateway is not None
        return self.gateway.peer("kernel")["endpoint"]

    def test_all(self) -> None:
        v4, v6 = (f"{bare(GATEWAY_OUTSIDE[0])}:{LISTEN_PORT}", f"[{bare(GATEWAY_OUTSIDE[1])}]:{LISTEN_PORT}")
        with self.subTest("the kernel begins"), self.session(kernel_knows=v4, preshared=False):
            self.from_kernel(HOST_V4, count=10)
            received, sent = self.guest.transfer()
            # A response and ten answers; an initiation, ten questions, and a keepalive where one was due.
            self.assertEqual(received, 92 + 10 * 128)
            self.assertIn(sent, (148 + 10 * 128, 148 + 10 * 128 + 32))
            peer = self.session_of("kernel")
            self.assertEqual((peer["rx_bytes"], peer["tx_bytes"]), (sent, received))
            self.from_kernel()
            self.from_inside()
        with self.subTest("the kernel begins, preshared key, IPv6 outside"), self.session(kernel_knows=v6):
            self.from_kernel()
            self.from_inside()
            self.assertEqual(self.endpoint(), f"[{OUTSIDE[1]}]:{PORT}")
        with self.subTest("the gateway begins"), self.session(gateway_knows=f"{OUTSIDE[0]}:{PORT}"):
            self.from_inside()
            self.from_kernel()
        with self.subTest("the gateway begins over IPv6"), self.session(gateway_knows=f"[{OUTSIDE[1]}]:{PORT}"):
            self.from_inside()
            self.from_kernel()
            self.every_size()
        with self.subTest("roaming and restarts"), self.session(kernel_knows=v4):
            self.from_kernel()
            self.roaming()
            self.restarts()

    def every_size(self) -> None:
        for size in (0, 1, 15, 16, 17, 1269, TUNNEL_MTU - 28 - 1, TUNNEL_MTU - 28):
            self.from_kernel(HOST_V4, count=2, size=size)
            self.assertEqual(ping(self.bed.host, INSIDE[0], 2, size), (2, 2), f"{size} bytes")

    def roaming(self) -> None:
        self.guest.run("wg set wg0 listen-port 44444")
        self.from_kernel()
        self.assertEqual(self.endpoint(), f"{OUTSIDE[0]}:44444")
        self.from_inside()
        self.guest.run(f"ip address del {OUTSIDE[0]}/24 dev eth0 && ip address add 192.0.2.51/24 dev eth0")
        self.guest.run("ip route replace 192.0.2.0/24 dev eth0 src 192.0.2.51", check=False)
        # On the link itself: the new address has to be asked for, and what is sent meanwhile waits.
        self.assertGreaterEqual(self.guest.ping(HOST_V4, 5), 4)
        wait_until("the kernel is followed", lambda: self.endpoint() == "192.0.2.51:44444")
        self.from_inside()

    def restarts(self) -> None:
        assert self.gateway is not None
        self.guest.run("ip link delete wg0")
        self.make_interface(f"{bare(GATEWAY_OUTSIDE[0])}:{LISTEN_PORT}", True)
        self.from_kernel()
        self.from_inside()
        self.assertEqual(self.gateway.stop(), 0)
        self.gateway.start()
        # 15 s without an answer make the kernel begin anew.
        wait_until("the kernel's new session", lambda: self.guest.ping(HOST_V4, 5) == 5, 90)
        self.from_inside()


if __name__ == "__main__":
    unittest.main(verbosity=2)
