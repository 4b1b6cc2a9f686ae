#!/usr/bin/env python3
"""`turnpike export` of a running daemon: a second daemon that is started with it is the same gateway."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import requirements
from gateway_case import GatewayCase
from lab import Lab, Namespace, wait_until
from testbed import HOST_V4
from turnpiked import Config, Gateway, program
from wireguard import KeyPair, make_preshared_key, write_secret

with contextlib.suppress(ImportError):  # Import asks requirements.need_module() first
    import yaml

NOBODY = 65534
AWKWARD = "two lines:\n - \"one\" & 'two' # \\ ä ..."


def content(gateway: Gateway) -> Config:
    """What `show` says of tunnels and peers, without what only one process knows."""
    shown = gateway.show()
    own = ("origin", "rx_bytes", "tx_bytes", "last_handshake", "endpoint")
    peers = [{**{k: v for k, v in peer.items() if k not in own}, "allowed_ips": sorted(peer["allowed_ips"]),
              "dormant_ips": sorted(peer.get("dormant_ips", []))} for peer in shown["peers"]]
    return {"tunnels": shown["tunnels"], "peers": sorted(peers, key=lambda peer: (peer["tunnel"], peer["public_key"]))}


def start_from(gateway: Gateway, file: Path) -> None:
    """Another turnpiked in the place of one that has ended, with a file of its own."""
    gateway.process = gateway.space.start("turnpiked-again", program("turnpiked"), "--config", str(file))

    def ready() -> bool:
        gateway.check_alive()
        return gateway.cli("show", "--json", check=False).returncode == 0

    wait_until("the second turnpiked answers `turnpike show`", ready, 60, every=0.2)


class ExportCase(unittest.TestCase):
    """Ports that take and give nothing; wg0 with alice, who has a key file, and bob; wg1 with nobody."""

    @classmethod
    def setUpClass(cls) -> None:
        requirements.need(("ip", "wg"))

    def setUp(self) -> None:
        self.lab = self.enterContext(Lab("export"))
        self.space: Namespace = self.lab.namespace("gateway")
        ports: list[Config] = [{"name": name, "device": f"net_null{i},no-rx=1",
                                "addresses": [f"192.0.{i}.1/24", f"2001:db8:{i}::1/64"]}
                               for i, name in enumerate(("outside", "inside"))]
        ports[0]["routes"] = [{"to": "0.0.0.0/0", "via": "192.0.0.254"}, {"to": "::/0", "via": "fe80::1"}]
        self.alice, self.bob, self.carol, self.dave = (KeyPair.make().public for _ in range(4))
        self.secrets = [KeyPair.make().private, KeyPair.make().private, make_preshared_key(), make_preshared_key()]
        files = [str(write_secret(self.lab.dir / f"{i}.key", secret)) for i, secret in enumerate(self.secrets)]
        tunnels: list[Config] = [
            {"name": f"wg{i}", "private_key_file": files[i], "listen_port": 51820 + i, "outside": "outside",
             "inside": "inside", "addresses": [f"10.{8 + i}.0.1/24"], "conflicts": ("refuse", "move")[i],
             "peer_to_peer": bool(i)} for i in range(2)]
        tunnels[0]["peers"] = [
            {"name": "alice", "public_key": self.alice, "preshared_key_file": files[2],
             "allowed_ips": ["10.8.0.2/32", "fd00:8::2/128"], "endpoint": "[2001:db8::7]:51820"},
            {"name": "bob", "public_key": self.bob, "allowed_ips": ["10.8.0.3/32", "10.9.0.0/16"]}]
        self.gateway = Gateway(self.lab, self.space, ports, tunnels, memory=128)
        self.gateway.config["control"]["group"] = "nogroup"
        self.gateway.start()

    def tearDown(self) -> None:
        self.gateway.check_alive()
        self.assertEqual(self.gateway.stop(), 0, "turnpiked ends with 0 on SIGTERM")

    def edit(self) -> None:
        """At run time: by transactions, and by wg(8)."""
        cli = self.gateway.cli
        psk = str(write_secret(self.lab.dir / "carol.psk", self.secrets[3]))
        cli("peer", "add", "wg0", "carol", "--public-key", self.carol, "--allowed-ips", "10.10.0.0/16,fd00:10::/64",
            "--preshared-key-file", psk, "--endpoint", "[2001:db8::9]:1", "--persistent-keepalive", "25",
            "--description", AWKWARD)
        cli("ips", "move", "wg0", "--from", "bob", "--to", "carol", "10.9.0.0/16")
        cli("peer", "set", "wg0", "bob", "--enabled", "false", "--name", "robert")
        self.space.run("wg", "set", "wg1", "peer", self.dave, "allowed-ips", "10.8.0.2/32,0.0.0.0/0")
        self.new_key = KeyPair.make().private
        self.space.run("wg", "set", "wg1", "private-key", str(write_secret(self.lab.dir / "new.key", self.new_key)),
                       "listen-port", "7777")

    def export(self, folder: str) -> Path:
        file = self.lab.dir / folder / "turnpike.yaml"
        file.parent.mkdir(mode=0o700)
        done = self.gateway.cli("export", "--output", str(file), "--secrets", str(file.parent / "keys"))
        self.assertEqual(done.stdout + done.stderr, "")
        return file

    def assert_changes_nothing(self, file: Path) -> None:
        self.assertIn("good: 2 ports, 2 tunnels, 4 peers", self.gateway.cli("check", str(file)).stdout)
        diff = json.loads(self.gateway.cli("diff", str(file), "--json").stdout)
        self.assertFalse(diff["changed"], diff)
        for part in ("tunnels", "peers", "prefixes", "sessions"):
            self.assertEqual(diff[part], [], part)
        self.assertFalse(diff["addresses_and_routes"])
        self.assertIn("would change nothing", self.gateway.cli("diff", str(file)).stdout)

    def test_a_second_daemon_from_the_export_is_the_same_gateway(self) -> None:
        self.edit()
        before = content(self.gateway)
        file = self.export("first")
        text = file.read_text()
        for secret in (*self.secrets, self.new_key):
            self.assertNotIn(secret, text)
        keys = list((file.parent / "keys").iterdir())
        self.assertEqual(len(keys), 4)
        self.assertEqual({path.read_text().strip() for path in keys},
                         {self.secrets[0], self.new_key, self.secrets[2], self.secrets[3]})
        self.assertEqual({stat.S_IMODE(path.stat().st_mode) for path in keys}, {0o600})
        self.assertEqual(stat.S_IMODE((file.parent / "keys").stat().st_mode), 0o700)
        self.assert_changes_nothing(file)
        for secret in (*self.secrets, self.new_key):
            self.assertNotIn(secret, self.gateway.log.read_text())
        self.assertIn("all keys are exported to uid 0", self.gateway.log.read_text())
        showconf = [self.space.run("wg", "showconf", f"wg{i}").stdout for i in range(2)]

        self.assertEqual(self.gateway.stop(), 0)
        start_from(self.gateway, file)
        self.assertEqual(content(self.gateway), before)
        for i in range(2):  # keys among it; the order of prefixes has no meaning
            parts = self.space.run("wg", "showconf", f"wg{i}").stdout
            self.assertEqual(*({tuple(sorted(line.replace(" ", "").replace("=", ",").split(",")))
                                for line in one.splitlines()} for one in (parts, showconf[i])))
        self.assert_changes_nothing(file)
        again = self.export("second").read_text().splitlines()
        self.assertEqual(again[1:], text.splitlines()[1:], "but for the generation in the first line")

    def test_keys_are_for_the_owner_and_without_them_files_stay_named(self) -> None:
        self.edit()
        for folder in (self.lab.dir, self.gateway.dir):
            os.chmod(folder, 0o711)

        def as_nobody(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run((program("turnpike"), "--socket", str(self.gateway.socket), *words), text=True,
                                  capture_output=True, user=NOBODY, group=NOBODY, extra_groups=[], timeout=30,
                                  check=False)

        shown = as_nobody("export")
        self.assertEqual(shown.returncode, 0, shown.stderr)
        for secret in (*self.secrets, self.new_key):
            self.assertNotIn(secret, shown.stdout)
        # What the file names and is still so; carol's key and wg1's new one came at run time.
        self.assertIn(f"private_key_file: {self.lab.dir}/0.key\n", shown.stdout)
        self.assertIn(f"preshared_key_file: {self.lab.dir}/2.key\n", shown.stdout)
        self.assertNotIn(f"{self.lab.dir}/1.key", shown.stdout)
        self.assertIn("note: 2 keys were given inline or at run time and stand in no file, tunnel wg1, peer carol",
                      shown.stderr)
        folder = Path("/tmp") / f"{self.lab.tag}-nobody"
        refused = as_nobody("export", "--secrets", str(folder))
        self.assertEqual(refused.returncode, 1)
        self.assertIn("only root and the daemon's owner may have the keys", refused.stderr)
        self.assertFalse(folder.exists())

    def test_of_the_state_that_the_store_brought_back(self) -> None:
        """After a restart the edits are known from the store alone."""
        self.gateway.config["control"]["durability"] = "full"
        self.assertEqual(self.gateway.stop(), 0)
        self.gateway.start()
        self.edit()
        before = content(self.gateway)
        self.assertEqual(self.gateway.stop(), 0)
        self.gateway.start()
        file = self.export("restarted")
        self.assertEqual(content(self.gateway), before)
        self.assert_changes_nothing(file)
        # With the file in the place of the old one, what was made at run time is the file's, and all stays.
        self.gateway.config_file.write_text(file.read_text().replace(" keys/", f" {file.parent}/keys/"))
        answer = json.loads(self.gateway.cli("reload", "--json").stdout)
        self.assertTrue(answer["committed"])
        self.assertEqual(content(self.gateway), before)
        self.assertEqual({peer["origin"] for peer in self.gateway.show()["peers"]}, {"file"})


class Import(unittest.TestCase):
    """A file of wg-quick(8) becomes a gateway, and that gateway's export the same gateway."""

    @classmethod
    def setUpClass(cls) -> None:
        requirements.need(("ip", "wg"))
        requirements.need_module("yaml", "python3-yaml")

    def test_a_file_of_wg_quick_becomes_the_gateway_that_it_describes(self) -> None:
        lab = self.enterContext(Lab("import"))
        gateway = Gateway(lab, lab.namespace("gateway"), [], [], memory=128)
        ours, theirs, psk = KeyPair.make(), KeyPair.make(), make_preshared_key()
        others = KeyPair.make().public
        original = lab.dir / "wg0.conf"
        original.write_text(f"""# the office
[Interface]
PrivateKey = {ours.private}
ListenPort = 51820
FwMark = 0xca6c
Address = 10.8.0.1/24, fd00:8::1/64
DNS = 9.9.9.9
Table = off
PreUp = true
PostUp = iptables -A FORWARD -i %i -j ACCEPT
SaveConfig = false

[Peer] # alice
PublicKey = {theirs.public}
PresharedKey = {psk}
AllowedIPs = 10.8.0.2/32, fd00:8::2/128
Endpoint = 198.51.100.7:51820
PersistentKeepalive = 25

[Peer]
PublicKey = {others}
AllowedIPs = 10.9.0.0/16
Endpoint = vpn.example.com:51820
""")
        folder = lab.dir / "the office's #1: ä"
        folder.mkdir(mode=0o700)
        keys = folder / "keys \\ 'q' \"d\""
        turnpike = program("turnpike")
        done = subprocess.run([turnpike, "import", str(original), "--secrets", os.path.relpath(keys, "/")], cwd="/",
                              text=True, capture_output=True, check=True)
        for key in (ours.private, psk):
            self.assertNotIn(key, done.stdout + done.stderr)
        for left_out in ("FwMark", "DNS", "Table", "PreUp", "PostUp", "SaveConfig"):
            self.assertIn(f"{left_out} is left out: ", done.stderr)
        self.assertIn("Endpoint 'vpn.example.com:51820' is left out", done.stderr)

        # What the notes ask for: the ports; and a place of the test's own for sockets and state.
        config = yaml.safe_load(done.stdout)
        for number, port in enumerate(config["ports"]):
            port["device"] = f"net_null{number},no-rx=1"
        config["dataplane"] = gateway.config["dataplane"]
        config["control"] = gateway.config["control"]
        gateway.config = config
        gateway.write_config()
        self.assertIn("good: 2 ports, 1 tunnels, 2 peers", gateway.cli("check", str(gateway.config_file)).stdout)
        gateway.start()
        runs = gateway.space.run("wg", "showconf", "wg0").stdout
        for line in original.read_text().splitlines():
            key = line.split(" = ")[0]
            if key in ("PrivateKey", "ListenPort", "PublicKey", "PresharedKey", "PersistentKeepalive"):
                self.assertIn(line + "\n", runs)
        self.assertIn("Endpoint = 198.51.100.7:51820\n", runs)
        self.assertEqual({peer["public_key"]: sorted(peer["allowed_ips"]) for peer in gateway.show()["peers"]},
                         {theirs.public: ["10.8.0.2/32", "fd00:8::2/128"], others: ["10.9.0.0/16"]})

        exports = []
        for number in range(2):
            file = folder / f"turnpike-{number}.yaml"
            gateway.cli("export", "--output", str(file), "--secrets", str(folder / f"keys-{number}"))
            self.assertIn("good: 2 ports, 1 tunnels, 2 peers", gateway.cli("check", str(file)).stdout)
            exports.append(file.read_text().replace(f"keys-{number}/", "keys/").splitlines()[1:])
            before = content(gateway)
            self.assertEqual(gateway.stop(), 0)
            start_from(gateway, file)
            self.assertEqual(content(gateway), before)
        self.assertEqual(exports[0], exports[1])
        self.assertEqual(gateway.stop(), 0)


class ExportedTraffic(GatewayCase):
    def test_clients_go_on_with_a_gateway_that_was_started_from_the_export(self) -> None:
        a = self.bed.add_client("client-a", preshared=True)
        b = self.bed.add_client("client-b")
        gateway = self.start(peers=[self.bed.peer_config(a)])
        peer = self.bed.peer_config(b)
        gateway.cli("peer", "add", "wg0", "client-b", "--public-key", peer["public_key"],
                    "--allowed-ips", ",".join(peer["allowed_ips"]))
        for side in (a, b):
            self.assert_pings(side.client.space, HOST_V4)
        file = self.lab.dir / "exported.yaml"
        gateway.cli("export", "--output", str(file), "--secrets", str(self.lab.dir / "keys"))
        self.assertEqual(gateway.stop(), 0)
        start_from(gateway, file)
        for side in (a, b):
            wait_until(f"{side.name} has a session with the new daemon",
                       lambda s=side: s.client.space.run("ping", "-c1", "-W1", HOST_V4, check=False).returncode == 0, 60)
            self.assert_pings(side.client.space, HOST_V4)


if __name__ == "__main__":
    unittest.main()
