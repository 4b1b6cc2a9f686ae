#!/usr/bin/env python3
"""Configuration files while the gateway runs: what reloads live, what it leaves alone, what it refuses."""

from __future__ import annotations

import copy
import json
import os
import signal
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from control_client import Control
from gateway_case import GatewayCase
from lab import wait_until
from numbered_flow import NumberedFlow, judge
from testbed import BEHIND, GATEWAY_OUTSIDE, HOST_V4, LISTEN_PORT, Side, bare
from turnpiked import Config
from wireguard import Peer, ping

ADDRESS = "10.9.0.1"
PREFIX = f"{ADDRESS}/32"
SECOND_PORT = LISTEN_PORT + 1
EXIT_ERROR, EXIT_CONFLICTS = 1, 3


class ReloadCase(GatewayCase):
    a: Side
    b: Side

    def setUp(self) -> None:
        super().setUp()
        self.a, self.b = self.bed.add_client("client-a"), self.bed.add_client("client-b")

    @property
    def peers(self) -> list[Config]:
        assert self.gateway is not None
        return self.gateway.config["tunnels"][0]["peers"]

    def reload(self, *words: str, expect: int = 0) -> dict:
        """What `turnpike reload --json` says of the configuration as it is now."""
        assert self.gateway is not None
        self.gateway.write_config()
        done = self.gateway.cli("reload", "--json", *words, check=False)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def owner(self, prefix: str = PREFIX) -> str | None:
        assert self.gateway is not None
        return json.loads(self.gateway.cli("owner", "wg0", prefix, "--json").stdout)["peer"]

    def share_address(self) -> None:
        for side in (self.a, self.b):
            side.client.space.address(side.client.interface, PREFIX)
        self.bed.host.route("10.9.0.0/24", "via", "10.0.0.1")

    def peer_with(self, side: Side, *extra: str) -> Config:
        peer = self.bed.peer_config(side)
        return {**peer, "allowed_ips": [*peer["allowed_ips"], *extra]}


class LiveReload(ReloadCase):
    def test_traffic_of_unchanged_peers_loses_nothing_while_peers_tunnels_and_addresses_change(self) -> None:
        gateway = self.start(peers=[self.peer_with(self.a, PREFIX), self.peer_with(self.b)])
        self.share_address()
        for side in (self.a, self.b):
            self.assert_pings(side.client.space, HOST_V4)
        before = self.session_of("client-a")["last_handshake"]
        flow = NumberedFlow(self.lab, self.bed.host, [side.client.space for side in (self.a, self.b)], ADDRESS, "reload")
        flow.start(4)
        flow.wait_for(50)

        # A peer comes, with a namespace and a session of its own.
        c = self.bed.add_client("client-c")
        self.peers.append(self.peer_with(c))
        self.assertTrue(self.reload()["changed"])
        self.assert_pings(c.client.space, HOST_V4)
        flow.wait_for(50)

        # Attributes of one peer, a route and an address of a port, a tunnel's address.
        self.peers[1]["persistent_keepalive"] = 25
        gateway.config["ports"][1]["addresses"].append("10.77.0.1/24")
        gateway.config["ports"][1]["routes"] = [{"to": "10.78.0.0/16", "via": "10.0.0.10"}]
        gateway.config["tunnels"][0]["addresses"].append("10.79.0.1/24")
        self.assertTrue(self.reload()["changed"])
        self.bed.host.route("10.77.0.0/24", "dev", "eth0")
        self.assert_pings(self.bed.host, "10.77.0.1")
        flow.wait_for(50)

        # A second tunnel, which client-c uses from now on; it leaves the first.
        del self.peers[2]
        first = gateway.config["tunnels"][0]
        gateway.config["tunnels"].append({**{k: copy.deepcopy(v) for k, v in first.items() if k != "peers"},
                                          "name": "wg1", "listen_port": SECOND_PORT, "addresses": ["10.80.0.1/24"],
                                          "peers": [self.peer_with(c)]})
        self.assertTrue(self.reload()["changed"])
        # A new peer for the client: with the old one it would go on sending under the keys of the first tunnel.
        c.client.wg("set", c.client.interface, "peer", self.bed.keys.public, "remove")
        c.client.set_peer(Peer(self.bed.keys.public, (*BEHIND, "10.80.0.0/24"),
                               f"{bare(GATEWAY_OUTSIDE[0])}:{SECOND_PORT}", c.preshared_key))
        c.client.space.route("10.80.0.0/24", "dev", c.client.interface)
        # Both ends begin anew: a handshake of each may cross, so what counts is that packets come back.
        for address in (HOST_V4, "10.80.0.1"):
            wait_until(f"client-c reaches {address}", lambda: ping(c.client.space, address, 2)[1] == 2, 30)
        self.assertIn("wg1", self.gateway.space.run("wg", "show", "interfaces").stdout)
        flow.wait_for(50)

        # client-b goes, and so does the second tunnel.
        del self.peers[1], gateway.config["tunnels"][1]
        self.assertTrue(self.reload()["changed"])
        self.assert_silent(self.b.client.space, HOST_V4)
        self.assertNotIn("wg1", self.gateway.space.run("wg", "show", "interfaces").stdout)
        flow.wait_for(50)

        verdict = judge(*flow.finish(), self.a.client.space.name, [])
        print(verdict, flush=True)
        self.assertTrue(verdict.flawless, str(verdict))
        self.assertEqual(self.session_of("client-a")["last_handshake"], before, "client-a made a new session")

    def test_a_file_that_cannot_be_applied_changes_nothing_and_says_why_by_line(self) -> None:
        gateway = self.start(peers=[self.peer_with(self.a, PREFIX), self.peer_with(self.b)])
        generation = gateway.show()["generation"]
        good = copy.deepcopy(gateway.config)

        gateway.config["dataplane"]["memory"] = 1024
        self.peers.pop()
        answer = self.reload(expect=EXIT_ERROR)
        self.assertIn("dataplane.memory: restart needed", answer["mistakes"][0]["what"])
        self.assertGreater(answer["mistakes"][0]["line"], 0)

        gateway.config = copy.deepcopy(good)
        self.peers[1]["allowed_ips"].append("10.9.0.1/33")
        answer = self.reload(expect=EXIT_ERROR)
        self.assertIn("above 32", answer["mistakes"][0]["what"])

        # A prefix that the API gave to a peer of its own.
        gateway.config = copy.deepcopy(good)
        with Control(gateway.socket) as control:
            self.assertEqual(control.commit({"op": "claim", "peer": "client-a", "prefixes": ["10.30.0.0/24"]}).status, 200)
        self.peers[1]["allowed_ips"].append("10.30.0.0/24")
        answer = self.reload(expect=EXIT_CONFLICTS)
        self.assertEqual([(c["prefix"], c["owner"]) for c in answer["conflicts"]], [("10.30.0.0/24", "client-a")])
        self.assertTrue(answer["conflicts"][0]["text"].startswith(f"{gateway.config_file}:"), answer)
        self.assertEqual(gateway.show()["generation"], generation + 1, "only the claim was committed")


class EditsOfRunTime(ReloadCase):
    def test_a_move_made_at_run_time_survives_a_reload_that_warns_of_it(self) -> None:
        gateway = self.start(peers=[self.peer_with(self.a, PREFIX), self.peer_with(self.b)])
        gateway.cli("ips", "move", "wg0", "--from", "client-a", "--to", "client-b", PREFIX)
        answer = self.reload()
        self.assertFalse(answer["changed"])
        self.assertIn(f"{PREFIX} is client-b's by an edit at run time", answer["warnings"][0])
        self.assertEqual(self.owner(), "client-b")

        # A change elsewhere in the file does not undo it either; SIGHUP asks for the same.
        self.peers[0]["persistent_keepalive"] = 7
        gateway.write_config()
        assert gateway.process is not None
        gateway.process.signal(signal.SIGHUP)
        wait_until("SIGHUP is done", lambda: gateway.peer("client-a")["persistent_keepalive"] == 7, 20)
        self.assertEqual(self.owner(), "client-b")

        # The file says what is so already; from then on it is the file's.
        self.peers[0]["allowed_ips"].remove(PREFIX)
        self.peers[1]["allowed_ips"].append(PREFIX)
        answer = self.reload()
        self.assertEqual(answer["warnings"], [])
        self.assertEqual(self.owner(), "client-b")

    def test_diff_says_what_a_reload_then_does(self) -> None:
        gateway = self.start(peers=[self.peer_with(self.a, PREFIX), self.peer_with(self.b)])
        self.assert_pings(self.b.client.space, HOST_V4)
        generation = gateway.show()["generation"]
        self.peers[0]["allowed_ips"].remove(PREFIX)
        self.peers.pop()
        self.peers.append({"name": "new", "public_key": "aXhQuhzulriNDAfrDvoN58yf6Hyo8VI99iztJ85WlkI=",
                           "allowed_ips": [PREFIX, "10.8.0.0/24"]})
        gateway.write_config()
        diff = json.loads(gateway.cli("diff", str(gateway.config_file), "--json").stdout)
        self.assertEqual({(p["peer"], p["change"]) for p in diff["peers"]},
                         {("client-b", "removed"), ("new", "added")})
        self.assertIn((PREFIX, "client-a", "new"), {(p["prefix"], p["from"], p["to"]) for p in diff["prefixes"]})
        self.assertEqual([(s["peer"], s["ends"]) for s in diff["sessions"]], [("client-b", True)])
        self.assertTrue(any("10.8.0.0/24" in text for text in diff["nested"]), diff["nested"])
        self.assertEqual(gateway.show()["generation"], generation)
        table = gateway.cli("diff", os.path.relpath(gateway.config_file)).stdout
        self.assertIn("client-b", table)
        self.assertTrue(self.reload()["changed"])
        again = json.loads(gateway.cli("diff", str(gateway.config_file), "--json").stdout)
        self.assertFalse(again["changed"])


if __name__ == "__main__":
    unittest.main()
