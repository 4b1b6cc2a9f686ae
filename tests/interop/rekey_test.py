#!/usr/bin/env python3
"""A rekey loses no packet: constant traffic through ten of them, as initiator and as responder at once.

The gateway and a branch office run turnpiked-short-keys, whose keys are renewed when they are seconds old. The
gateway begins towards a stock client and renews that session; the branch begins towards the gateway and renews that
one. Whatever goes between them takes 10 ms, so that at each rekey packets are under way under the old key.

    client a (wireguard-go) ── relay ── switch ── gateway ── host
                office ── branch ── relay ──┘
"""

from __future__ import annotations

import dataclasses
import json
import struct
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import noise_peer
import translator
from gateway_case import GatewayCase
from lab import Namespace, wait_until
from numbered_flow import NumberedFlow, Verdict, judge
from packets import RawPort
from testbed import GATEWAY_OUTSIDE, HOST_V4, HOST_V6, LISTEN_PORT, TUNNEL_MTU, bare
from turnpiked import SHORT_KEYS, Gateway, program
from wireguard import KeyPair, write_secret

REKEYS = 10
CLIENT_PORT = 51821
OFFICE, BRANCH_OUTSIDE = "10.1.0.10", "192.0.2.40"
RELAY_TO_CLIENT, RELAY_TO_GATEWAY = "192.0.2.50", "192.0.2.51"
DELAY_S = 0.01
INTERVAL_MS = 4.0  # between two datagrams: slow enough that a pause of a second overflows no queue on the way
# Of an initiation over IPv4, the Ethernet header included.
INITIATION_FRAME_BYTES = 14 + 20 + 8 + noise_peer.INITIATION_BYTES


class Initiations:
    """Counts those that one port of the switch takes in."""

    def __init__(self, switch: Namespace, port: str) -> None:
        self._port = RawPort(switch, port)
        self._port.keep_length(INITIATION_FRAME_BYTES)
        self.by_destination: dict[str, int] = {}

    def take(self) -> dict[str, int]:
        while (frame := self._port.receive(0)) is not None:
            if frame[42:46] == struct.pack("<I", noise_peer.INITIATION):
                to = ".".join(map(str, frame[30:34]))
                self.by_destination[to] = self.by_destination.get(to, 0) + 1
        return self.by_destination

    def close(self) -> None:
        self._port.close()


@dataclasses.dataclass
class Flow:
    what: str
    receiver: Namespace
    numbered: NumberedFlow


class Rekey(GatewayCase):
    DAEMON = SHORT_KEYS

    def start_both(self) -> None:
        """The gateway, told where client a is, and the branch, told where the gateway is."""
        bed = self.bed
        side = bed.add_client("client-a", knows_endpoint=False, listen_port=CLIENT_PORT, preshared=True)
        keys = KeyPair.make()
        self.relay("relay-a", RELAY_TO_CLIENT, side.outside[0], CLIENT_PORT)
        self.relay("relay-b", RELAY_TO_GATEWAY, bare(GATEWAY_OUTSIDE[0]), LISTEN_PORT)
        branch = {"name": "branch", "public_key": keys.public, "allowed_ips": [f"{OFFICE}/32"]}
        client = {**bed.peer_config(side), "endpoint": f"{RELAY_TO_CLIENT}:{translator.LISTEN_PORT}"}
        self.start(peers=[client, branch])

        space, self.office = self.lab.namespace("branch"), self.lab.namespace("office")
        bed.plug(space, "wan0", "branch")
        self.lab.link(self.office, "eth0", space, "lan0")
        self.office.address("eth0", f"{OFFICE}/24")
        self.office.route("10.0.0.0/24", "via", "10.1.0.1")
        bed.host.route("10.1.0.0/24", "via", "10.0.0.1")
        for interface in ("wan0", "lan0"):
            self.lab.raw_port(space, interface)
        secret = write_secret(self.lab.dir / "branch.key", keys.private)
        ports = [{"name": name, "device": f"net_af_packet{number},iface={interface},blocksz=65536,framesz=2048,"
                                          "framecnt=2048", "addresses": [address], "mtu": 1500}
                 for number, (name, interface, address) in enumerate(
                     (("outside", "wan0", f"{BRANCH_OUTSIDE}/24"), ("inside", "lan0", "10.1.0.1/24")))]
        self.branch = Gateway(self.lab, space, ports, [{
            "name": "wg0", "private_key_file": str(secret), "listen_port": LISTEN_PORT, "outside": "outside",
            "inside": "inside", "mtu": TUNNEL_MTU,
            "peers": [{"name": "gateway", "public_key": bed.keys.public, "allowed_ips": ["10.0.0.0/24"],
                       "endpoint": f"{RELAY_TO_GATEWAY}:{translator.LISTEN_PORT}"}]}], name="branch", daemon=SHORT_KEYS)
        self.branch.start()

    def relay(self, name: str, address: str, to: str, port: int) -> None:
        space = self.lab.namespace(name)
        self.bed.plug(space, "eth0", name)
        space.address("eth0", f"{address}/24")
        translator.start(space, address, to, port, forget_s=600, delay_s=DELAY_S)

    def flow(self, what: str, sender: Namespace, receiver: Namespace, address: str) -> Flow:
        return Flow(what, receiver, NumberedFlow(self.lab, sender, [receiver], address, what.replace(" ", "-")))

    def handshakes(self, log: Path, peer: str) -> int:
        """As `turnpike watch` tells them."""
        text = log.read_text()
        events = [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines()]
        return sum(event["event"] == "handshake_done" and event["peer"] == peer for event in events)

    def test_ten_rekeys_in_both_roles_lose_nothing(self) -> None:
        self.start_both()
        assert self.gateway is not None
        self.assertIn("keys are renewed", self.gateway.log.read_text(), "the log warns of such a program")
        side, host = self.bed.sides[0], self.bed.host
        sent_by_gateway, sent_by_client, sent_by_branch = (
            Initiations(self.bed.switch, port) for port in ("gateway", f"p{side.number}", "branch"))
        for initiations in (sent_by_gateway, sent_by_client, sent_by_branch):
            self.addCleanup(initiations.close)
        watch = self.gateway.space.start("watch", program("turnpike"), "--socket", str(self.gateway.socket), "watch",
                                         "--json")
        self.assert_pings(host, side.v4)
        self.assert_pings(self.office, HOST_V4)

        flows = [self.flow("gateway to client", host, side.client.space, side.v6),
                 self.flow("client to gateway", side.client.space, host, HOST_V6),
                 self.flow("gateway to branch", host, self.office, OFFICE),
                 self.flow("branch to gateway", self.office, host, HOST_V4)]
        before = {peer: self.handshakes(watch.log, peer) for peer in ("client-a", "branch")}
        for flow in flows:
            flow.numbered.start(INTERVAL_MS)
        wait_until(f"{REKEYS} rekeys of each", lambda: all(
            self.handshakes(watch.log, peer) >= count + REKEYS for peer, count in before.items()), 150, every=0.5)
        verdicts: dict[str, Verdict] = {}
        for flow in flows:
            verdicts[flow.what] = judge(*flow.numbered.finish(), flow.receiver.name, [])
            print(f"{flow.what}: {verdicts[flow.what]}", flush=True)
        for what, verdict in verdicts.items():
            self.assertTrue(verdict.flawless, f"{what}: {verdict}; drops {self.gateway.show()['drops']}, of the branch "
                                              f"{self.branch.show()['drops']}")
        # Each in its role: the client renews only keys that are 120 s old, and the gateway never those of the branch.
        self.assertGreaterEqual(sent_by_gateway.take().get(RELAY_TO_CLIENT, 0), REKEYS)
        self.assertGreaterEqual(sent_by_branch.take().get(RELAY_TO_GATEWAY, 0), REKEYS)
        self.assertEqual(sent_by_gateway.take().get(RELAY_TO_GATEWAY, 0), 0)
        self.assertEqual(sent_by_client.take(), {})
        self.branch.check_alive()
        self.assertEqual(self.branch.stop(), 0)

    def test_the_program_says_what_it_is(self) -> None:
        def version(name: str) -> str:
            return subprocess.run([program(name), "--version"], capture_output=True, text=True, check=True).stdout

        self.assertIn("for tests only: keys are renewed", version(SHORT_KEYS))
        self.assertNotIn("tests", version("turnpiked"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
