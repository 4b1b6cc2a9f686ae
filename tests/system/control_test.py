#!/usr/bin/env python3
"""The real daemon's sockets, without traffic: Debian's wg, the command line, large sets beside small questions, and
clients that behave badly. Its ports take and give nothing."""

from __future__ import annotations

import base64
import contextlib
import grp
import json
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import threading
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import requirements
from control_client import Control
from lab import Lab, Namespace
from turnpiked import Gateway, null_ports
from wireguard import KeyPair, write_secret

FULL = bool(os.environ.get("TURNPIKE_TEST_FULL"))
LARGE = 100_000 if FULL else 20_000  # peers of a large set


def key(number: int) -> str:
    return base64.b64encode(random.Random(number).randbytes(32)).decode()


def as_hex(text: str) -> str:
    return base64.b64decode(text).hex()


class NullCase(unittest.TestCase):
    """Tunnels wg0, which refuses conflicts, and wg1, which moves; alice and bob in each."""

    CONTROL: dict[str, object] = {}  # of the configuration, beside what Gateway writes

    @classmethod
    def setUpClass(cls) -> None:
        requirements.need(("ip", "wg"))

    def setUp(self) -> None:
        self.lab = self.enterContext(Lab("control"))
        self.space: Namespace = self.lab.namespace("gateway")
        tunnels = []
        self.keys = [KeyPair.make(), KeyPair.make()]
        for number, pair in enumerate(self.keys):
            secret = write_secret(self.lab.dir / f"wg{number}.key", pair.private)
            tunnels.append({"name": f"wg{number}", "private_key_file": str(secret), "listen_port": 51820 + number,
                            "outside": "outside", "inside": "inside", "addresses": [f"10.{8 + number}.0.1/24"],
                            "conflicts": ("refuse", "move")[number],
                            "peers": [{"name": name, "public_key": key(i + 1), "allowed_ips": [f"10.8.0.{i + 2}/32"]}
                                      for i, name in enumerate(("alice", "bob"))]})
        self.gateway = Gateway(self.lab, self.space, null_ports(), tunnels, memory=128)
        self.gateway.config["control"].update(self.CONTROL)
        self.gateway.start()

    def tearDown(self) -> None:
        self.gateway.check_alive()
        self.assertEqual(self.gateway.stop(), 0, "turnpiked ends with 0 on SIGTERM")

    def control(self) -> Control:
        return self.enterContext(Control(self.gateway.socket))

    def generation(self) -> int:
        return self.gateway.show()["generation"]

    def peers(self) -> list[dict[str, object]]:
        return self.gateway.show()["peers"]

    def owner(self, prefix: str, tunnel: str = "wg0") -> str | None:
        return json.loads(self.gateway.cli("owner", "--json", tunnel, prefix).stdout)["peer"]

    def wg(self, *words: str, text_in: str | None = None) -> tuple[int, str, str]:
        done = self.space.run("wg", *words, check=False, text_in=text_in, timeout=120)
        return done.returncode, done.stdout, done.stderr

    def assert_wg(self, *words: str) -> str:
        status, out, err = self.wg(*words)
        self.assertEqual((status, err), (0, ""), words)
        return out

    def raw(self, tunnel: str = "wg0") -> socket.socket:
        """A connection to wg(8)'s socket, seen from outside the namespace."""
        client = self.enterContext(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        client.settimeout(60)
        client.connect(str(self.space.run_dir / "wireguard" / f"{tunnel}.sock"))
        return client

    def ask_raw(self, request: str, tunnel: str = "wg0") -> str:
        client = self.raw(tunnel)
        client.sendall(request.encode())
        answer = b""
        while not answer.endswith(b"\n\n"):
            piece = client.recv(65536)
            if not piece:
                break
            answer += piece
        return answer.decode()


class StockWg(NullCase):
    def test_every_subcommand_that_asks(self) -> None:
        self.assertEqual(sorted(self.assert_wg("show", "interfaces").split()), ["wg0", "wg1"])
        self.assertEqual(self.assert_wg("show", "wg0", "public-key").strip(), self.keys[0].public)
        self.assertEqual(self.assert_wg("show", "wg0", "private-key").strip(), self.keys[0].private)
        self.assertEqual(self.assert_wg("show", "wg0", "listen-port").strip(), "51820")
        self.assertEqual(self.assert_wg("show", "wg0", "fwmark").strip(), "off")
        self.assertEqual(sorted(self.assert_wg("show", "wg0", "peers").split()), sorted([key(1), key(2)]))
        self.assertIn(f"{key(1)}\t10.8.0.2/32", self.assert_wg("show", "wg0", "allowed-ips"))
        for what in ("preshared-keys", "endpoints", "latest-handshakes", "transfer", "persistent-keepalive"):
            self.assertEqual(len(self.assert_wg("show", "wg0", what).splitlines()), 2, what)
        self.assertEqual(len(self.assert_wg("show", "wg0", "dump").splitlines()), 3)
        self.assertEqual(len(self.assert_wg("show", "all", "dump").splitlines()), 6)
        self.assertIn("interface: wg0", self.assert_wg("show"))
        self.assertIn("[Interface]", self.assert_wg("showconf", "wg0"))

    def test_a_tunnel_whose_private_key_was_taken_away_has_no_public_one(self) -> None:
        self.assert_wg("set", "wg0", "private-key", "/dev/null")
        self.assertEqual(self.assert_wg("show", "wg0", "public-key").strip(), "(none)")
        self.assertNotIn("public key", self.assert_wg("show", "wg0"))

    def test_a_prefix_of_another_is_refused_with_eexist_and_changes_nothing(self) -> None:
        before = self.generation()
        status, _, text = self.wg("set", "wg0", "peer", key(2), "allowed-ips", "10.8.0.3/32,10.8.0.2/32")
        self.assertEqual((status, text), (1, "Unable to modify interface: File exists\n"))
        answer = self.ask_raw(f"set=1\npublic_key={as_hex(key(2))}\nallowed_ip=10.8.0.2/32\n\n")
        self.assertEqual(answer, f"conflict_allowed_ip=10.8.0.2/32\nconflict_owner=alice\n"
                                 f"conflict_peer={as_hex(key(1))}\nerrno=-17\n\n")
        self.assertEqual((self.generation(), self.owner("10.8.0.2/32")), (before, "alice"))

    def test_a_file_with_a_conflict_is_refused_whole_by_every_subcommand_that_takes_one(self) -> None:
        before = self.peers()
        file = self.lab.dir / "conflict.conf"
        text = "".join(f"[Peer]\nPublicKey = {key(i)}\nAllowedIPs = 10.8.0.2/32\n" for i in (7, 8))
        file.write_text(text)
        for subcommand in ("setconf", "addconf", "syncconf"):
            status, _, said = self.wg(subcommand, "wg0", str(file))
            self.assertEqual((status, said), (1, "Unable to modify interface: File exists\n"), subcommand)
            self.assertEqual(self.peers(), before, subcommand)

    def test_other_refusals_by_status_and_text(self) -> None:
        before = self.generation()
        for words, said in (
                (("set", "wg0", "listen-port", "51821"), "Address already in use"),  # wg1's, on the same port
                (("set", "wg9", "listen-port", "1"), "Unable to modify interface"),  # why depends on the kernel
                (("set", "wg0", "peer", "tooshort", "remove"), "Key is not the correct length or format"),
                (("set", "wg0", "peer", key(1), "allowed-ips", "10.8.0.2/33"), "AllowedIP is not in the correct format")):
            status, _, text = self.wg(*words)
            self.assertEqual(status, 1, words)
            self.assertIn(said, text, words)
        self.assertEqual(self.generation(), before)

    def test_where_the_tunnel_moves_the_last_one_gets_it(self) -> None:
        self.assertEqual(self.wg("set", "wg1", "peer", key(2), "allowed-ips", "10.8.0.2/32")[0], 0)
        self.assertEqual((self.owner("10.8.0.2/32", "wg1"), self.owner("10.8.0.3/32", "wg1")), ("bob", None))
        # The transaction of an API client is refused there, too: only wg(8) asks for the stock ways.
        answer = self.control().ask("POST", "/v1/transactions", {"edits": [
            {"op": "claim", "tunnel": "wg1", "peer": "alice", "prefixes": ["10.8.0.2/32"]}]})
        self.assertEqual(answer.status, 409)

    def test_allowed_ip_with_a_minus_takes_one_prefix_away(self) -> None:
        alice = as_hex(key(1))
        self.assertEqual(self.ask_raw(f"set=1\npublic_key={alice}\nallowed_ip=-10.8.0.2/32\n"
                                      "allowed_ip=10.8.7.0/24\n\n"), "errno=0\n\n")
        self.assertEqual((self.owner("10.8.0.2/32"), self.owner("10.8.7.0/24")), (None, "alice"))
        # What is bob's stays bob's, and it is no error.
        self.assertEqual(self.ask_raw(f"set=1\npublic_key={alice}\nallowed_ip=-10.8.0.3/32\n\n"), "errno=0\n\n")
        self.assertEqual(self.owner("10.8.0.3/32"), "bob")

    def test_an_unchanged_file_publishes_nothing_and_a_changed_one_only_what_changed(self) -> None:
        file = self.lab.dir / "wg0.conf"
        file.write_text(self.assert_wg("showconf", "wg0"))
        before = self.generation()
        for subcommand in ("setconf", "syncconf", "addconf"):
            self.assert_wg(subcommand, "wg0", str(file))
        self.assertEqual(self.generation(), before)
        file.write_text(file.read_text() + f"[Peer]\nPublicKey = {key(3)}\nAllowedIPs = 10.8.0.4/32\n")
        self.assert_wg("syncconf", "wg0", str(file))
        self.assertEqual((self.generation(), len(self.peers())), (before + 1, 5))
        # Names are Turnpike's own: they stay with peers that wg sets again.
        self.assertEqual(self.owner("10.8.0.2/32"), "alice")

    def test_set_changes_and_removes(self) -> None:
        psk = write_secret(self.lab.dir / "psk", key(5))
        self.assert_wg("set", "wg0", "fwmark", "0x7", "peer", key(1), "preshared-key", str(psk), "endpoint",
                       "198.51.100.7:99", "persistent-keepalive", "25")
        dump = self.assert_wg("show", "wg0", "dump")
        self.assertIn(f"{key(1)}\t{key(5)}\t198.51.100.7:99\t10.8.0.2/32\t0\t0\t0\t25", dump)
        self.assert_wg("set", "wg0", "peer", key(1), "remove")
        self.assert_wg("set", "wg0", "peer", key(1), "remove")  # not there any more, and no error
        self.assertEqual(self.assert_wg("show", "wg0", "peers").split(), [key(2)])


class LargeSets(NullCase):
    def test_others_are_served_while_a_large_set_is_read_applied_and_shown(self) -> None:
        file = self.lab.dir / "large.conf"
        file.write_text(self.assert_wg("showconf", "wg0").split("[Peer]")[0] + "".join(
            f"[Peer]\nPublicKey = {key(100 + i)}\nAllowedIPs = 10.{100 + (i >> 16)}.{i >> 8 & 255}.{i & 255}/32\n"
            for i in range(LARGE)))
        ended = threading.Event()
        waits: list[float] = []
        owners: set[str | None] = set()

        def ask() -> None:
            with Control(self.gateway.socket) as control:
                while not ended.is_set():
                    began = time.monotonic()
                    owners.add(control.owner("10.8.0.2/32").body["peer"])
                    waits.append(time.monotonic() - began)

        reader = threading.Thread(target=ask)
        reader.start()
        try:
            began = time.monotonic()
            self.assert_wg("setconf", "wg0", str(file))
            whole = time.monotonic() - began
            self.assertEqual(len(self.assert_wg("show", "wg0", "allowed-ips").splitlines()), LARGE)
        finally:
            ended.set()
            reader.join()
        # Whoever asks waits for no more than the part in which nobody may read, and sees before or after.
        self.assertEqual(owners, {"alice", None})
        print(f"setconf of {LARGE} peers: {whole:.2f} s; {len(waits)} questions meanwhile, the longest "
              f"{max(waits):.3f} s", flush=True)
        self.assertGreater(len(waits), 20)
        self.assertLess(max(waits), whole * 0.8)
        before = self.generation()
        self.assert_wg("syncconf", "wg0", str(file))
        self.assertEqual(self.generation(), before)

    def test_a_large_transaction_that_is_refused_names_all_and_changes_nothing(self) -> None:
        control = self.control()
        prefixes = [f"10.120.{i >> 8}.{i & 255}/32" for i in range(5000)]
        self.assertEqual(control.commit({"op": "claim", "peer": "bob", "prefixes": prefixes}).status, 200)
        before = self.peers()
        answer = control.commit({"op": "claim", "peer": "alice", "prefixes": ["10.130.0.0/16", *prefixes]})
        self.assertEqual((answer.status, len(answer.body["conflicts"])), (409, len(prefixes)))
        self.assertEqual(self.peers(), before)
        self.assertEqual(control.move(prefixes, "bob", "alice").status, 200)
        self.assertEqual(self.owner(prefixes[-1]), "alice")


class BadClients(NullCase):
    def setUp(self) -> None:
        super().setUp()
        self.before = self.peers()

    def tearDown(self) -> None:
        self.assertEqual(self.peers(), self.before, "something has changed")
        super().tearDown()

    def post(self, document: str) -> tuple[int, dict[str, object]]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(60)
            client.connect(str(self.gateway.socket))
            body = document.encode()
            client.sendall(b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                           b"Content-Length: %d\r\n\r\n" % len(body) + body)
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        head, _, text = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(text)

    def test_each_mistake_is_named_with_its_place_and_what_would_be_right(self) -> None:
        def edit(**more: object) -> str:
            return json.dumps({"edits": [{"op": "claim", "tunnel": "wg0", "peer": "alice", "prefixes": [], **more}]})

        for document, place, said in (
                (edit(prefixes=["10.1.2.3/8"]), "/edits/0/prefixes/0", "10.0.0.0/8"),
                (edit(prefixes=["fd00::1/64"]), "/edits/0/prefixes/0", "fd00::/64"),
                (edit(prefixes=["10.0.0.0/33"]), "/edits/0/prefixes/0", ""),
                (edit(prefixes=[7]), "/edits/0/prefixes/0", ""),
                (edit(prefixes="10.0.0.0/8"), "/edits/0/prefixes", ""),
                (edit(prefixs=[]), "/edits/0/prefixs", "prefixes"),
                (edit(op="clam"), "/edits/0/op", "claim"),
                (edit(peer=5), "/edits/0/peer", ""),
                (edit(op="peer_add", peer="x", public_key="AAAA"), "/edits/0/public_key", "44"),
                ("[]", "", ""), ("{", "", ""), ("", "", "")):
            status, answer = self.post(document)
            self.assertEqual(status, 400, document)
            text = json.dumps(answer)
            self.assertIn(place, text, document)
            self.assertIn(said, text, document)

    def test_the_tunnels_own_key_is_no_peers(self) -> None:
        status, answer = self.post(json.dumps({"edits": [
            {"op": "peer_add", "tunnel": "wg0", "peer": self.keys[0].public, "prefixes": ["10.70.0.0/16"]}]}))
        self.assertEqual((status, answer["conflicts"][0]["kind"]), (409, "own_key"))
        # wg(8) leaves such a peer out, as the kernel does.
        self.assert_wg("set", "wg0", "peer", self.keys[0].public, "allowed-ips", "10.70.0.0/16")

    def test_a_document_of_a_hundred_mebibytes_is_refused_and_stalls_nobody(self) -> None:
        client = self.enterContext(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        client.settimeout(60)
        client.connect(str(self.gateway.socket))
        client.sendall(b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        answered = 0
        try:
            for _ in range(100):
                client.sendall(chunk)
                answered += self.control().owner("10.8.0.2/32").status == 200
        except OSError:
            pass  # cut off
        self.assertIn(b"413", client.recv(100))
        self.assertGreater(answered, 10)

    def test_half_requests_and_clients_that_never_read_are_nobodys_business(self) -> None:
        half = [self.raw() for _ in range(10)]
        for client in half:
            client.sendall(b"set=1\npublic_key=" + as_hex(key(9)).encode())
        for path in [self.gateway.socket] * 10:
            client = self.enterContext(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            client.connect(str(path))
            client.sendall(b"GET /v1/show HTTP/1.1\r\nHost: x\r\n\r\n" * 50)  # and reads nothing
        for _ in range(20):
            self.assertEqual(self.control().owner("10.8.0.2/32").body["peer"], "alice")
        for _ in range(200):
            self.raw().close()  # wg's probes
        self.assertIn("wg0", self.assert_wg("show", "interfaces"))


READERS = grp.getgrnam("nogroup")
STRANGER = 54321  # an UID and a GID that nobody has


class Credentials(NullCase):
    CONTROL = {"group": READERS.gr_name}

    def setUp(self) -> None:
        super().setUp()
        self.lab.dir.chmod(0o711)
        self.gateway.dir.chmod(0o711)

    def as_another(self, gid: int, groups: list[int], what: Callable[[], object]) -> object:
        """What `what` returns in a process of an ordinary user."""
        here, there = multiprocessing.Pipe()

        def child() -> None:
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(STRANGER)
            there.send(what())

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        try:
            self.assertTrue(here.poll(60), "no answer")
            return here.recv()
        finally:
            process.join(60)

    def statuses(self) -> tuple[int, ...] | str:
        """Of a look, of a change and of a dry run."""
        claim = b'{"edits": [{"op": "claim", "tunnel": "wg0", "peer": "alice", "prefixes": ["10.90.0.0/16"]}]}'
        found = []
        for line, body in ((b"GET /v1/show", b""), (b"POST /v1/transactions", claim),
                           (b"POST /v1/transactions?dry_run=true", claim)):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.settimeout(60)
                try:
                    client.connect(str(self.gateway.socket))
                except PermissionError:
                    return "permission denied"
                client.sendall(b"%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (line, len(body), body))
                found.append(int(client.recv(100).split()[1]))
        return tuple(found)

    def test_the_group_may_look_and_others_may_nothing(self) -> None:
        self.assertEqual(self.as_another(READERS.gr_gid, [], self.statuses), (200, 403, 403))
        self.assertEqual(self.as_another(STRANGER, [READERS.gr_gid], self.statuses), (200, 403, 403))
        self.assertEqual(self.as_another(STRANGER, [], self.statuses), "permission denied")
        self.assertIsNone(self.owner("10.90.0.0/16"))

        # Secrets are read there: root and the daemon's user only.
        self.assertEqual((self.space.run_dir / "wireguard" / "wg0.sock").stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.statuses(), (200, 200, 200))

    def test_a_reader_with_many_connections_keeps_nobody_else_out(self) -> None:
        def crowd() -> int:
            with contextlib.ExitStack() as clients:
                connected = 0
                for _ in range(600):
                    client = clients.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                    client.setblocking(False)
                    connected += client.connect_ex(str(self.gateway.socket)) == 0
                time.sleep(5)
                return connected

        connected: list[Any] = []
        reader = threading.Thread(
            target=lambda: connected.append(self.as_another(READERS.gr_gid, [], crowd)))
        reader.start()
        time.sleep(1)
        begin = time.monotonic()
        self.assertEqual(self.owner("10.8.0.2/32"), "alice")
        self.assertLess(time.monotonic() - begin, 2)
        reader.join()
        self.assertGreaterEqual(connected[0], 64, "as many as one reader may have")


class CommandLine(NullCase):
    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.gateway.cli(*words, check=False)

    def test_a_refusal_says_what_to_type_and_ends_with_3(self) -> None:
        done = self.cli("ips", "claim", "wg0", "bob", "10.8.0.2/32")
        self.assertEqual(done.returncode, 3)
        self.assertIn("10.8.0.2/32", done.stderr)
        command = next(line.strip() for line in done.stderr.splitlines() if "ips move" in line)
        words = command[command.index("ips"):].split()
        self.assertEqual(self.cli(*words).returncode, 0, command)
        self.assertEqual(self.owner("10.8.0.2/32"), "bob")

    def test_a_stale_generation_ends_with_4_and_a_dry_run_warns_of_nesting(self) -> None:
        before = self.generation()
        self.assertEqual(self.cli("ips", "claim", "--if-generation", str(before + 5), "wg0", "bob",
                                  "10.60.0.0/16").returncode, 4)
        done = self.cli("ips", "claim", "--dry-run", "--json", "wg0", "bob", "10.8.0.0/24")
        warnings = json.loads(done.stdout)["warnings"]
        self.assertEqual(len(warnings), 1, warnings)
        self.assertIn("10.8.0.2/32", warnings[0])
        self.assertEqual(self.generation(), before)
        # Nesting is no conflict.
        self.assertEqual(self.cli("ips", "claim", "wg0", "bob", "10.8.0.0/24").returncode, 0)
        self.assertEqual(json.loads(self.cli("owner", "--json", "wg0", "10.8.0.9").stdout)["peer"], "bob")
        self.assertEqual(self.owner("10.8.0.2/32"), "alice")

    def test_the_help_of_every_command_has_an_example(self) -> None:
        top = self.cli("--help").stdout
        commands = [line.split()[0] for line in top.partition("Subcommands:\n")[2].partition("\n\n")[0].splitlines()]
        self.assertIn("apply", commands)
        for words in [(command,) for command in commands if command not in ("peer", "ips")] + [
                ("peer", "add"), ("peer", "set"), ("peer", "remove"),
                ("ips", "claim"), ("ips", "release"), ("ips", "replace"), ("ips", "move")]:
            self.assertIn(words[0], top)
            done = self.cli(*words, "--help")
            self.assertEqual(done.returncode, 0, words)
            self.assertIn("turnpike " + " ".join(words), done.stdout, words)


if __name__ == "__main__":
    unittest.main(verbosity=2)
