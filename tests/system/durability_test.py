#!/usr/bin/env python3
"""What is acknowledged survives kill -9; disks that are full or read-only; --confirm across a restart.

`quick` kills 20 times, `full` (TURNPIKE_TEST_FULL=1) 500 times. TURNPIKE_TEST_SEED replays the moments.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import stat
import sys
import threading
import time
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import requirements
from control_client import Control
from durable_case import DurabilityCase, fill
from durable_load import Client, expected_peers, random_key
from lab import run, wait_until
from turnpiked import METRICS, Config

FULL = bool(os.environ.get("TURNPIKE_TEST_FULL"))
KILLS = 500 if FULL else 20
CLIENTS = 4
SEED = int(os.environ.get("TURNPIKE_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
# Commands that come before it is over need a tenth of a second each, or much more where others are at work.
CONFIRM_SECONDS = 5


class KillAtAnyMoment(DurabilityCase):
    def test_the_state_is_what_was_acknowledged_and_at_most_what_was_in_flight(self) -> None:
        print(f"TURNPIKE_TEST_SEED={SEED}", flush=True)
        moment = random.Random(SEED)
        self.gateway.start()
        clients = [Client(number, self.gateway.socket) for number in range(CLIENTS)]
        with Control(self.gateway.socket) as control:
            for client in clients:
                client.prepare(control)
        in_flight_kept = committed = 0
        for _ in range(KILLS):
            threads = [threading.Thread(target=client.work_until_it_breaks) for client in clients]
            for thread in threads:
                thread.start()
            time.sleep(moment.uniform(0.01, 0.5))
            self.kill()
            for thread in threads:
                thread.join()
            if moment.random() < 0.25:  # also while it starts
                self.gateway.spawn()
                time.sleep(moment.uniform(0, 0.4))
                self.kill()
            self.gateway.start()
            committed += sum(client.acknowledged_now for client in clients)
            in_flight_kept += self.check(self.gateway.show(), clients)
        print(f"{KILLS} kills, {committed} acknowledged, {in_flight_kept} in flight and kept", flush=True)
        self.assertGreater(committed, 5 * KILLS)
        self.assertEqual(self.gateway.stop(), 0)

    def check(self, shown: dict[str, Any], clients: list[Client]) -> int:
        """Every client's transactions are there whole, up to the last acknowledged or the one after it."""
        peers = {peer["name"]: peer for peer in shown["peers"]}
        kept = 0
        expected: dict[str, dict[str, Any]] = {}
        for client in clients:
            self.assertIsNone(client.fault)
            step = int(peers[client.a]["description"])
            self.assertIn(step, (client.acknowledged, client.asked), f"client {client.number}")
            kept += step - client.acknowledged
            client.resume_from(step)
            expected |= expected_peers(client.number, step)
        found = {name: {"description": peer["description"], "allowed_ips": sorted(peer["allowed_ips"])}
                 for name, peer in peers.items()}
        self.assertEqual(found, expected)
        newest = max(client.generation for client in clients)
        self.assertGreaterEqual(shown["generation"], newest)
        self.assertLessEqual(shown["generation"], newest + len(clients))
        return kept


class Confirm(DurabilityCase):
    def setUp(self) -> None:
        super().setUp()
        self.gateway.start()
        self.add_peer("alice", "10.9.0.1/32")
        self.add_peer("bob")

    def move(self) -> None:
        self.gateway.cli("ips", "move", "wg0", "--from", "alice", "--to", "bob", "10.9.0.1/32",
                         "--confirm", f"{CONFIRM_SECONDS}s")
        self.assertEqual(self.owner("10.9.0.1/32"), "bob")

    def wait_for_alice(self) -> None:
        wait_until("the move is undone", lambda: self.owner("10.9.0.1/32") == "alice", CONFIRM_SECONDS + 20)

    def test_what_is_not_confirmed_is_undone(self) -> None:
        self.move()
        generation = self.gateway.show()["generation"]
        self.wait_for_alice()
        self.assertGreater(self.gateway.show()["generation"], generation)

    def test_time_that_runs_out_while_the_gateway_is_down_counts(self) -> None:
        self.move()
        self.kill()
        time.sleep(CONFIRM_SECONDS + 0.5)
        self.gateway.start()
        self.wait_for_alice()

    def test_time_goes_on_after_a_restart(self) -> None:
        self.move()
        self.restart()
        self.wait_for_alice()

    def test_time_that_runs_out_while_the_gateway_starts_counts_once(self) -> None:
        """Before it has read its state, while it does, and just after: the end comes at any of these moments."""
        for early in (0.5, 0.3, 0.2, 0.1, 0.0) if FULL else (0.3, 0.1, 0.0):
            before = self.gateway.show()["generation"]
            self.gateway.cli("ips", "move", "wg0", "--from", "alice", "--to", "bob", "10.9.0.1/32", "--confirm", "1s")
            end = time.monotonic() + 1
            self.kill()
            time.sleep(max(0.0, end - early - time.monotonic()))
            self.gateway.start()
            self.wait_for_alice()
            history = json.loads(self.gateway.cli("history", "--json").stdout)["history"]
            self.assertEqual([(entry["cause"], entry["unconfirmed_seconds"]) for entry in history
                              if entry["generation"] > before], [("unconfirmed", None), ("api", None)])

    def test_a_reload_that_is_not_confirmed_in_time_is_undone_at_start_and_stays_so(self) -> None:
        self.gateway.config["tunnels"][0]["peers"].append({"name": "erin", "public_key": random_key(),
                                                           "allowed_ips": ["10.9.0.9/32"]})
        self.gateway.write_config()
        self.gateway.cli("reload", "--confirm", f"{CONFIRM_SECONDS}s")
        end = time.monotonic() + CONFIRM_SECONDS
        self.assertEqual(self.owner("10.9.0.9/32"), "erin")
        generation = self.gateway.show()["generation"]
        self.kill()
        time.sleep(max(0.0, end - time.monotonic()) + 0.5)
        for _ in range(2):
            self.gateway.start()
            # What the undo leaves as it is, is said as at run time: once.
            self.assertEqual(self.gateway.log.read_text().count(
                f"generation {generation} came from the file: addresses, routes and MTUs that it changed stay"), 1)
            self.assertEqual(self.peers(), {"alice", "bob"})
            done = json.loads(self.gateway.cli("reload", "--json").stdout)
            self.assertFalse(done["changed"])
            self.assertTrue(any("peer erin was removed at run time" in warning for warning in done["warnings"]), done)
            self.kill()
        self.gateway.start()

    def test_what_is_confirmed_stays_also_after_a_restart(self) -> None:
        self.move()
        self.gateway.cli("confirm")
        self.restart()
        time.sleep(CONFIRM_SECONDS + 1)
        self.assertEqual(self.owner("10.9.0.1/32"), "bob")

    def build_on_the_move(self) -> None:
        """Without the move's reverse: bob has nothing that he could give back."""
        self.add_peer("carol")
        self.move()
        self.gateway.cli("ips", "move", "wg0", "--from", "bob", "--to", "carol", "10.9.0.1/32")
        self.add_peer("dave")

    def peers(self) -> set[str]:
        return {peer["name"] for peer in self.gateway.show()["peers"]}

    def test_later_edits_that_build_on_it_are_undone_with_it(self) -> None:
        self.build_on_the_move()
        self.wait_for_alice()
        self.assertEqual(self.peers(), {"alice", "bob", "carol"})
        newest = json.loads(self.gateway.cli("history", "--json").stdout)["history"][0]
        self.assertEqual(newest["cause"], "unconfirmed")
        self.assertRegex(newest["comment"], r"not confirmed; undone with what was committed after it \(2\)")

    def test_later_edits_that_build_on_it_are_undone_with_it_at_start(self) -> None:
        self.build_on_the_move()
        self.kill()
        time.sleep(CONFIRM_SECONDS + 0.5)
        self.gateway.start()
        self.wait_for_alice()
        self.assertEqual(self.peers(), {"alice", "bob", "carol"})
        self.restart()  # what is settled is settled
        self.assertEqual(self.owner("10.9.0.1/32"), "alice")

    def test_what_a_rollback_has_undone_is_not_undone_again(self) -> None:
        before = self.gateway.show()["generation"]
        self.move()
        self.gateway.cli("rollback", str(before))
        self.gateway.cli("ips", "move", "wg0", "--from", "alice", "--to", "bob", "10.9.0.1/32")
        self.gateway.cli("peer", "remove", "wg0", "alice")
        time.sleep(CONFIRM_SECONDS + 1)
        self.assertEqual(self.owner("10.9.0.1/32"), "bob")
        self.restart()
        self.assertEqual(self.owner("10.9.0.1/32"), "bob")


class History(DurabilityCase):
    def test_peers_are_there_again_whatever_the_file_calls_them(self) -> None:
        names = {"the office", "caf\u00e9", "x" * 128}
        self.gateway.config["tunnels"][0]["peers"] = [{"name": name, "public_key": random_key()} for name in sorted(names)]
        for _ in range(2):
            self.gateway.start()
            self.assertEqual({peer["name"] for peer in self.gateway.show()["peers"]}, names)
            self.assertEqual(self.gateway.stop(), 0)

    def test_a_rollback_is_a_new_commit_and_the_history_names_who_did_what(self) -> None:
        self.gateway.start()
        self.add_peer("alice", "10.9.0.1/32", "10.9.0.2/32")
        self.add_peer("bob")
        then = self.gateway.show()
        self.gateway.cli("ips", "move", "wg0", "--from", "alice", "--to", "bob", "10.9.0.1/32",
                         "--comment", "hand-over")
        self.gateway.cli("peer", "remove", "wg0", "alice")
        self.restart()
        entries = json.loads(self.gateway.cli("history", "--json").stdout)["history"]
        self.assertEqual([entry["comment"] for entry in entries[:2]], ["", "hand-over"])
        self.assertEqual({entry["uid"] for entry in entries[:2]}, {os.getuid()})
        self.assertTrue(all(entry["pid"] > 0 for entry in entries))
        self.gateway.cli("rollback", str(then["generation"]))
        now = self.gateway.show()
        self.assertGreater(now["generation"], entries[0]["generation"])
        kept = ("name", "public_key", "allowed_ips", "enabled")
        self.assertEqual([{k: p[k] for k in kept} for p in sorted(now["peers"], key=lambda p: p["name"])],
                         [{k: p[k] for k in kept} for p in sorted(then["peers"], key=lambda p: p["name"])])
        self.restart()
        self.assertEqual(self.gateway.show()["generation"], now["generation"])


class FileAndState(DurabilityCase):
    """The file applied last, what was changed since, and the file as it is now."""

    def setUp(self) -> None:
        super().setUp()
        self.peers: list[Config] = self.gateway.config["tunnels"][0]["peers"]
        self.peers += [{"name": "alice", "public_key": random_key(), "allowed_ips": ["10.9.0.1/32", "10.9.0.2/32"]},
                       {"name": "bob", "public_key": random_key(), "allowed_ips": []}]
        self.gateway.config["control"]["metrics"] = METRICS
        self.gateway.start()
        self.gateway.cli("ips", "move", "wg0", "--from", "alice", "--to", "bob", "10.9.0.1/32")

    def owners(self, *prefixes: str) -> list[str | None]:
        return [self.owner(prefix) for prefix in prefixes]

    def test_a_move_at_run_time_survives_restart_and_reload(self) -> None:
        generation = self.gateway.show()["generation"]
        self.restart()
        self.assertEqual(self.owner("10.9.0.1/32"), "bob")
        self.assertEqual(self.gateway.show()["generation"], generation, "the same file asks for nothing")
        self.peers.append({"name": "carol", "public_key": random_key(), "allowed_ips": ["10.9.0.3/32"]})
        self.gateway.write_config()
        done = json.loads(self.gateway.cli("reload", "--json").stdout)
        self.assertTrue(any("10.9.0.1/32" in warning for warning in done["warnings"]), done)
        self.assertEqual(self.owners("10.9.0.1/32", "10.9.0.3/32"), ["bob", "carol"])
        self.restart()
        self.assertEqual(self.owners("10.9.0.1/32", "10.9.0.2/32", "10.9.0.3/32"), ["bob", "alice", "carol"])

    def test_a_file_edited_while_the_gateway_is_down_is_applied_as_a_difference(self) -> None:
        self.kill()
        self.peers[0]["allowed_ips"] = ["10.9.0.1/32", "10.9.0.4/32"]
        self.gateway.start()
        self.assertEqual(self.owners("10.9.0.1/32", "10.9.0.2/32", "10.9.0.4/32"), ["bob", None, "alice"])

    def test_a_file_that_cannot_be_applied_at_start_leaves_the_durable_state_and_says_why_by_line(self) -> None:
        self.gateway.cli("ips", "claim", "wg0", "bob", "10.9.0.5/32")
        before = self.gateway.show()
        self.kill()
        self.peers.append({"name": "carol", "public_key": random_key(), "allowed_ips": ["10.9.0.5/32"]})
        self.gateway.start()
        now = self.gateway.show()
        self.assertEqual((now["generation"], [p["name"] for p in now["peers"]]),
                         (before["generation"], [p["name"] for p in before["peers"]]))
        log = self.gateway.log.read_text()
        self.assertRegex(log, rf"{self.gateway.config_file}:\d+:\d+: .*10\.9\.0\.5/32 in wg0 is owned by bob")
        self.assertEqual(self.metrics("turnpike_last_reload_success", 'turnpike_reloads_total{outcome="refused"}',
                                      "turnpike_last_reload_success_timestamp_seconds"), [0, 1, 0])
        self.peers.pop()
        self.gateway.write_config()
        self.gateway.cli("reload")
        self.assertEqual(self.metrics("turnpike_last_reload_success"), [1])

    def metrics(self, *samples: str) -> list[float]:
        return [self.gateway.metric(sample) for sample in samples]

    def test_a_rollback_of_a_reload_says_what_stays(self) -> None:
        before = self.gateway.show()["generation"]
        self.gateway.config["ports"][1]["addresses"] = ["10.0.0.9/24"]
        self.peers.append({"name": "carol", "public_key": random_key(), "allowed_ips": []})
        self.gateway.write_config()
        reloaded = json.loads(self.gateway.cli("reload", "--json").stdout)["generation"]
        for words in (["--dry-run"], []):
            done = json.loads(self.gateway.cli("rollback", str(before), *words, "--json").stdout)
            self.assertTrue(any(f"generation {reloaded} came from the file: addresses, routes" in warning
                                for warning in done["warnings"]), done)
        self.assertEqual(len(self.gateway.show()["peers"]), 2)
        again = json.loads(self.gateway.cli("rollback", str(done["generation"]), "--json").stdout)
        self.assertEqual(again["warnings"], [])


class BadDisks(DurabilityCase):
    """With a disk of its own for the state."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        requirements.need(("mkfs.ext4",))

    def disk(self, *mount: str) -> Path:
        directory = self.lab.dir / "disk"
        directory.mkdir()
        run("mount", *mount, str(directory))
        self.addCleanup(run, "umount", "--lazy", str(directory))
        self.gateway.config["control"]["state"] = str(directory / "state.db")
        return directory

    def commit_until_refused(self) -> str:
        """Claims until the store says no; the reason. What was acknowledged is remembered in `claimed`."""
        self.claimed: list[str] = []
        control = self.control()
        for number in range(20_000):
            prefix = f"10.{20 + number // 65536}.{number // 256 % 256}.{number % 256}/32"
            answer = control.commit({"op": "claim", "peer": "alice", "prefixes": [prefix]})
            if answer.status != 200:
                self.assertEqual(answer.status, 500, answer.body)
                self.refused = prefix
                return answer.body["detail"]
            self.claimed.append(prefix)
        raise AssertionError("20,000 commits on a disk that cannot hold them")

    def assert_as_acknowledged(self) -> None:
        peers = {peer["name"]: sorted(peer["allowed_ips"]) for peer in self.gateway.show()["peers"]}
        self.assertEqual(peers, {"alice": sorted(self.claimed)})
        self.assertIsNone(self.owner(self.refused))

    def test_a_full_disk_refuses_the_transaction_and_takes_it_when_there_is_room_again(self) -> None:
        directory = self.disk("-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs")
        self.gateway.start()
        self.add_peer("alice")
        filler = fill(directory)
        reason = self.commit_until_refused()
        self.assertRegex(reason, "full|space")
        self.assertIn(str(self.state), reason)
        self.assert_as_acknowledged()
        filler.unlink()
        answer = self.control().commit({"op": "claim", "peer": "alice", "prefixes": [self.refused]})
        self.assertEqual(answer.status, 200, answer.body)
        self.claimed.append(self.refused)
        self.refused = "10.99.0.1/32"
        self.restart()
        self.assert_as_acknowledged()

    def test_a_disk_that_turns_read_only_refuses_the_transaction_with_the_reason(self) -> None:
        image = self.lab.dir / "image"
        with image.open("wb") as file:
            file.truncate(32 << 20)
        run("mkfs.ext4", "-q", "-F", str(image))
        directory = self.disk("-o", "loop,errors=remount-ro", str(image))
        self.gateway.start()
        self.add_peer("alice", "10.9.0.1/32")
        loop = Path(run("findmnt", "-no", "SOURCE", str(directory)).stdout.strip()).name
        Path(f"/sys/fs/ext4/{loop}/trigger_fs_error").write_text("a test\n")
        self.claimed = ["10.9.0.1/32"]
        self.refused = "10.9.0.2/32"
        answer = self.control().commit({"op": "claim", "peer": "alice", "prefixes": [self.refused]})
        self.assertEqual(answer.status, 500, answer.body)
        self.assertIn(str(self.state), answer.body["detail"])
        self.assert_as_acknowledged()
        self.kill()
        said = self.refused_start()
        self.assertIn("control.state", said)
        self.assertRegex(said, "[Rr]ead-only")


class NewerState(DurabilityCase):
    def test_a_newer_state_is_refused_with_what_to_do(self) -> None:
        self.gateway.start()
        self.assertEqual(self.gateway.stop(), 0)
        database = sqlite3.connect(self.state)
        database.execute("PRAGMA user_version = 99")
        database.close()
        said = self.refused_start()
        self.assertIn("newer", said)
        self.assertIn("99", said)


class TheStateFile(DurabilityCase):
    def test_is_private(self) -> None:
        self.gateway.start()
        self.add_peer("alice")
        self.assertTrue(self.state.exists())
        for path in self.state.parent.glob("state.db*"):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600, path)

    def test_belongs_to_one_daemon(self) -> None:
        self.gateway.start()
        said = self.refused_start()
        self.assertIn(str(self.state), said)
        self.gateway.check_alive()
        self.assertEqual(self.gateway.stop(), 0)

    def test_in_a_directory_that_cannot_be_written_is_one_clear_line(self) -> None:
        directory = self.lab.dir / "read-only"
        directory.mkdir()
        run("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(directory))
        self.addCleanup(run, "umount", "--lazy", str(directory))
        self.gateway.config["control"]["state"] = str(directory / "state.db")
        self.gateway.write_config()
        said = self.refused_start()
        self.assertEqual(len(said.splitlines()), 1, said)
        self.assertIn(str(directory), said)


if __name__ == "__main__":
    unittest.main(verbosity=2)
