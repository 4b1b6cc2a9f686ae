#!/usr/bin/env python3
"""What happens to live sessions when keys and endpoints change, and peers whose keys are no keys."""

from __future__ import annotations

import base64
import json
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import noise_peer
from gateway_case import GatewayCase
from lab import wait_until
from noise_peer import LOW_ORDER
from packets import UDP, RawPort, address_bytes
from testbed import BEHIND, GATEWAY_OUTSIDE, HOST_V4, HOST_V6, LISTEN_PORT, Side, bare
from turnpiked import Config
from wireguard import KeyPair, Peer, make_preshared_key, ping, write_secret

CLIENT_PORT = 51821


class ChangedKeys(GatewayCase):
    def wg_set(self, *words: str) -> None:
        self.bed.gateway_space.run("wg", "set", "wg0", *words)

    def last_handshake(self, name: str) -> str:
        return self.session_of(name)["last_handshake"]

    def assert_renewed(self, side: Side, before: str) -> None:
        """Traffic is back by a new session; initiations are 5 s apart at least."""
        wait_until(f"{side.name} is back", lambda: ping(side.client.space, HOST_V4, 3, wait=2) == (3, 3), 40)
        self.assert_pings(self.bed.host, side.v4, side.v6)
        self.assertGreater(self.last_handshake(side.name), before)

    def test_a_changed_private_key_renews_sessions_and_a_peer_with_the_new_key_goes(self) -> None:
        side = self.bed.add_client("client-a", knows_endpoint=True, preshared=True)
        fresh = KeyPair.make()
        ourselves: Config = {"name": "ourselves-to-be", "public_key": fresh.public, "allowed_ips": ["10.8.0.77/32"]}
        gateway = self.start(peers=[self.bed.peer_config(side), ourselves])
        self.assert_pings(side.client.space, HOST_V4, HOST_V6)
        before = self.last_handshake("client-a")
        self.wg_set("private-key", str(write_secret(self.lab.dir / "fresh.key", fresh.private)))
        self.assertEqual([peer["name"] for peer in gateway.show()["peers"]], ["client-a"])
        # Nothing more goes under the old session, and who knows the old key only is not answered.
        sent = gateway.peer("client-a")["tx_bytes"]
        self.assert_silent(side.client.space, HOST_V4)
        more = gateway.peer("client-a")["tx_bytes"] - sent
        self.assertEqual(more % noise_peer.INITIATION_BYTES, 0, f"{more} bytes are not just initiations")
        side.client.wg("set", side.client.interface, "peer", self.bed.keys.public, "remove")
        endpoint = f"{bare(GATEWAY_OUTSIDE[0])}:{LISTEN_PORT}"
        side.client.set_peer(Peer(fresh.public, BEHIND, endpoint, side.preshared_key))
        self.assert_renewed(side, before)

    def test_a_changed_preshared_key_renews_the_session(self) -> None:
        side = self.bed.add_client("client-a", preshared=True)
        self.start()
        self.assert_pings(side.client.space, HOST_V4, HOST_V6)
        before = self.last_handshake("client-a")
        side.preshared_key = make_preshared_key()
        path = write_secret(self.lab.dir / "second.psk", side.preshared_key)
        self.wg_set("peer", side.client.keys.public, "preshared-key", str(path))
        # The session of the old key is not used any more though its keys are young.
        self.assert_silent(self.bed.host, side.v4)
        side.client.set_peer(Peer(self.bed.keys.public, BEHIND, f"{bare(GATEWAY_OUTSIDE[0])}:{LISTEN_PORT}",
                                  side.preshared_key))
        self.assert_renewed(side, before)

    def test_a_changed_endpoint_is_where_the_next_packet_goes(self) -> None:
        side = self.bed.add_client("client-a", knows_endpoint=False, listen_port=CLIENT_PORT)
        second = "192.0.2.111"
        side.client.space.address("eth0", f"{second}/24")
        self.start(peers=[{**self.bed.peer_config(side), "endpoint": f"{side.outside[0]}:{CLIENT_PORT}"}])
        self.assert_pings(self.bed.host, side.v4)
        before = self.last_handshake("client-a")
        port = RawPort(self.bed.switch, "gateway")
        self.addCleanup(port.close)
        self.wg_set("peer", side.client.keys.public, "endpoint", f"{second}:{CLIENT_PORT}")
        self.assert_pings(self.bed.host, side.v4)
        # Answers come from the address that the client was spoken to at, so the gateway stays with it.
        messages = [frame for frame in iter(lambda: port.receive(0.2), None)
                    if frame[12:14] == b"\x08\0" and frame[23] == UDP]
        self.assertGreaterEqual(len(messages), 5)
        self.assertEqual({frame[30:34] for frame in messages}, {address_bytes(second)})
        self.assertEqual(self.last_handshake("client-a"), before, "the session goes on")


class LowOrder(GatewayCase):
    def test_peers_of_low_order_are_taken_but_never_spoken_to(self) -> None:
        """Whether the file has them or an edit adds them (facts of the kernel: no handshake, no error)."""
        side = self.bed.add_client("client-a")
        # All zeros come last: in a file they are taken for a key that somebody forgot, wg(8) may say them.
        keys = [base64.b64encode(point).decode() for point in (*LOW_ORDER[1:], LOW_ORDER[0])]
        endpoint = f"{side.outside[0]}:{CLIENT_PORT}"
        peers: list[Config] = [{"name": f"low-{i}", "public_key": key, "endpoint": endpoint, "persistent_keepalive": 1,
                                "allowed_ips": [f"10.8.0.{100 + i}/32"]} for i, key in enumerate(keys)]
        gateway = self.start(peers=[self.bed.peer_config(side), *peers[:3]])
        for peer in peers[3:5]:
            document = self.lab.dir / f"{peer['name']}.json"
            document.write_text(json.dumps({"edits": [{"op": "peer_add", "tunnel": "wg0", "name": peer["name"],
                                                       "public_key": peer["public_key"], "endpoint": endpoint,
                                                       "persistent_keepalive": 1, "prefixes": peer["allowed_ips"]}]}))
            gateway.cli("apply", str(document))
        for peer in peers[5:]:
            self.bed.gateway_space.run("wg", "set", "wg0", "peer", peer["public_key"], "endpoint", endpoint,
                                       "persistent-keepalive", "1", "allowed-ips", peer["allowed_ips"][0])
        self.assertEqual(len(gateway.show()["peers"]), 1 + len(LOW_ORDER))
        port = RawPort(self.bed.switch, "gateway")
        self.addCleanup(port.close)
        port.keep_length(14 + 20 + 8 + noise_peer.INITIATION_BYTES)
        for i in range(len(peers)):
            self.bed.host.run("ping", "-n", "-c", "1", "-W", "1", f"10.8.0.{100 + i}", check=False)
        self.assertIsNone(port.receive(1), "an initiation to a peer of low order")
        for key in keys:
            shown = next(peer for peer in gateway.show()["peers"] if peer["public_key"] == key)
            self.assertEqual((shown["tx_bytes"], shown["last_handshake"]), (0, None))
        self.assert_pings(side.client.space, HOST_V4)


if __name__ == "__main__":
    unittest.main(verbosity=2)
