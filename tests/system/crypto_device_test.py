#!/usr/bin/env python3
"""The gateway with a crypto device of DPDK's as its AEAD, by the driver in software, against a real WireGuard client."""

from __future__ import annotations

import sys
import unittest
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import hugepages
from gateway_case import GatewayCase
from lab import Failed, wait_until
from testbed import HOST_V4, HOST_V6
from turnpiked import METRICS, SHORT_KEYS, Config, Gateway
from wireguard import ping

CLIENT_PORT = 51821
MEMORY_MIB = 128
SESSIONS = "turnpike_crypto_sessions"


class DeviceCase(GatewayCase):
    def start_with(self, workers: int = 1, peers: Sequence[Config] | None = None, **dataplane: object) -> Gateway:
        self.gateway = self.bed.gateway(workers, peers)
        self.gateway.daemon = self.DAEMON
        self.gateway.config["dataplane"].update(dataplane)
        self.gateway.config["control"]["metrics"] = METRICS
        self.gateway.start()
        return self.gateway

    def sessions(self) -> int:
        assert self.gateway is not None
        return int(self.gateway.metric(SESSIONS))


class CryptoDevice(DeviceCase):
    def test_traffic_goes_through_the_device_and_sessions_end_with_their_peer(self) -> None:
        side = self.bed.add_client("client", preshared=True)
        gateway = self.start_with(aead="cryptodev", crypto_device="crypto_aesni_mb0")
        self.assertRegex(gateway.log.read_text(), r"AEAD by cryptodev, [0-9.]+ Gbit/s a core;")
        self.assertEqual(self.sessions(), 0)
        self.assert_pings(side.client.space, HOST_V4, HOST_V6)
        self.assert_pings(side.client.space, HOST_V4, size=1300)
        self.assertEqual(self.sessions(), 2)
        drops = gateway.show()["drops"]
        self.assertEqual((drops["seal-failed"], drops["authentication-failed"]), (0, 0))
        gateway.cli("peer", "remove", "wg0", "client")
        wait_until("the peer's sessions are gone", lambda: self.sessions() == 0)

    def test_other_driver_and_two_workers(self) -> None:
        side = self.bed.add_client("client")
        self.start_with(2, aead="cryptodev", crypto_device="crypto_chacha20_poly13050,max_nb_queue_pairs=2")
        self.assert_pings(side.client.space, HOST_V4, HOST_V6)

    def test_device_that_takes_physical_addresses(self) -> None:
        # DPDK refuses to start where it cannot find them out.
        side = self.bed.add_client("client")
        arguments = hugepages.provide(self, self.lab, hugepages.pages_of(MEMORY_MIB))
        gateway = self.start_with(aead="cryptodev", crypto_device="crypto_aesni_mb0", hugepages=True,
                                  memory=MEMORY_MIB, eal=[*arguments, "--iova-mode=pa"])
        self.assert_pings(side.client.space, HOST_V4, HOST_V6)
        self.assert_pings(side.client.space, HOST_V4, size=1300)
        self.assertEqual(gateway.show()["drops"]["seal-failed"], 0)

    def test_auto_measures_the_device_beside_the_libraries(self) -> None:
        side = self.bed.add_client("client")
        gateway = self.start_with(aead="auto", crypto_device="crypto_aesni_mb0")
        line = next(line for line in gateway.log.read_text().splitlines() if "AEAD by" in line)
        for name in ("ipsec-mb", "libsodium", "cryptodev"):
            self.assertIn(name, line)
        self.assert_pings(side.client.space, HOST_V4)

    def test_handshakes_beyond_its_sessions_are_refused_and_counted(self) -> None:
        # Eight sessions are four keypairs; a fifth client gets none.
        sides = [self.bed.add_client(f"client{i}") for i in range(5)]
        gateway = self.start_with(aead="cryptodev", crypto_device="crypto_aesni_mb0", crypto_sessions=8)
        for side in sides[:4]:
            self.assert_pings(side.client.space, HOST_V4, count=1)
        self.assertEqual(self.sessions(), 8)
        self.assert_silent(sides[4].client.space, HOST_V4)
        self.assertGreater(gateway.show()["drops"]["handshake-queue-full"], 0)
        self.assert_pings(sides[0].client.space, HOST_V4)
        gateway.cli("peer", "remove", "wg0", "client1")

        def served() -> bool:
            try:
                self.assert_pings(sides[4].client.space, HOST_V4, count=1)
            except AssertionError:
                return False
            return True

        wait_until("the fifth client has the room of the one that left", served, 30)

    def test_what_cannot_be_used_is_refused_with_what_there_is(self) -> None:
        for device, said in (("crypto_null0", "has no ChaCha20-Poly1305"), ("crypto_none0", "cannot be opened"),
                             ("0000:ff:1f.7", "DPDK found no such crypto device")):
            lab_gateway = self.bed.gateway() if self.gateway is None else self.gateway
            self.gateway = lab_gateway
            lab_gateway.config["dataplane"].update(aead="cryptodev", crypto_device=device)
            with self.assertRaises(Failed) as refused:
                lab_gateway.start()
            self.assertIn(f"dataplane.crypto_device ({device}): ", str(refused.exception))
            self.assertIn(said, str(refused.exception))
            self.assertIn("crypto devices that are there: ", str(refused.exception))
        self.gateway = None


class ShortKeys(DeviceCase):
    """Keys that are renewed every few seconds: sessions come and go under traffic."""

    DAEMON = SHORT_KEYS

    def test_sessions_follow_the_keys(self) -> None:
        # The gateway begins: a stock client would not renew before two minutes are over.
        side = self.bed.add_client("client", knows_endpoint=False, listen_port=CLIENT_PORT)
        peer = {**self.bed.peer_config(side), "endpoint": f"{side.outside[0]}:{CLIENT_PORT}"}
        gateway = self.start_with(aead="cryptodev", crypto_device="crypto_aesni_mb0", crypto_sessions=10,
                                  peers=[peer])
        self.assert_pings(self.bed.host, side.v4, count=1)
        before = gateway.metric("turnpike_handshakes_total")

        # Beside other tests a handshake may come later than such keys live: what waits too long for it is gone.
        # That renewing as such loses nothing is shown by tests/interop/rekey_test.py.
        lost: list[int] = []

        def renewed() -> bool:
            sent, received = ping(self.bed.host, side.v4, 2, interval=0.05)
            lost.append(sent - received)
            return gateway.metric("turnpike_handshakes_total") >= before + 5

        wait_until("more sessions than there is room for at a time", renewed, 90)
        self.assertLessEqual(sum(lost), 2, lost)
        self.assert_pings(self.bed.host, side.v4, count=2)
        self.assertLessEqual(self.sessions(), 10)


if __name__ == "__main__":
    unittest.main(verbosity=2)
