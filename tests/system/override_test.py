#!/usr/bin/env python3
"""A prefix of the file that was moved at run time: whatever is reloaded, restarted or edited then, and in which order, it stays
where it was moved to until the file says otherwise, and who looks is told that the file is overridden.
"""

from __future__ import annotations

import copy
import json
import sys
import unittest
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from durable_case import DurabilityCase
from durable_load import random_key
from turnpiked import Config

MOVED, KEPT, OTHER = "10.9.0.1/32", "10.9.0.2/32", "10.9.0.3/32"
EXIT_CONFLICTS = 3
# Each of four actions after each, itself included: a de Bruijn sequence.
EACH_AFTER_EACH = "RRKRERSKKEKSEESSR"


class OverrideCase(DurabilityCase):
    def setUp(self) -> None:
        super().setUp()
        self.peers: list[Config] = self.gateway.config["tunnels"][0]["peers"]
        self.peers += [{"name": "alice", "public_key": random_key(), "allowed_ips": [MOVED, KEPT]},
                       {"name": "bob", "public_key": random_key(), "allowed_ips": []},
                       {"name": "carol", "public_key": random_key(), "allowed_ips": []}]
        self.first = copy.deepcopy(self.peers)

    def begin(self) -> None:
        """The file as it was first, nothing stored, and then the move."""
        for path in self.state.parent.glob("state.db*"):
            path.unlink()
        self.peers[:] = copy.deepcopy(self.first)
        self.gateway.start()
        self.gateway.cli("ips", "move", "wg0", "--from", "alice", "--to", "bob", MOVED)

    def reload(self) -> Config:
        self.gateway.write_config()
        return json.loads(self.gateway.cli("reload", "--json", check=False).stdout)

    def diff(self) -> Config:
        return json.loads(self.gateway.cli("diff", str(self.gateway.config_file), "--json").stdout)

    def owners(self) -> dict[str, str]:
        return {prefix: peer["name"] for peer in self.gateway.show()["peers"] for prefix in peer["allowed_ips"]}

    def assert_overridden(self, warnings: list[str], line_of: str = MOVED) -> None:
        said = [warning for warning in warnings if f"{line_of} is bob's by an edit at run time" in warning]
        self.assertEqual(len(said), 1, warnings)
        # Where the file says otherwise.
        place = said[0].removeprefix(f"{self.gateway.config_file}:").split(":")
        line = self.gateway.config_file.read_text().splitlines()[int(place[0]) - 1]
        self.assertTrue(line[int(place[1]) - 1:].startswith(f'"{line_of}"'), (said, line))


class Order(OverrideCase):
    def test_reloads_restarts_and_edits_in_any_order_leave_it_where_it_was_moved_to(self) -> None:
        self.begin()
        self.assertEqual(set(EACH_AFTER_EACH), set("RKES"))
        self.assertEqual(len({a + b for a, b in zip(EACH_AFTER_EACH, EACH_AFTER_EACH[1:])}), 16)
        for number, action in enumerate(EACH_AFTER_EACH):
            generation = self.gateway.show()["generation"]
            changed = action in "ES"
            if changed:  # elsewhere in the file
                self.peers[2]["allowed_ips"] = [f"10.10.{number}.0/24"]
            if action in "RE":
                done = self.reload()
                self.assertEqual(done["changed"], changed)
                self.assert_overridden(done["warnings"])
            else:
                self.restart()
            with self.subTest(EACH_AFTER_EACH[:number + 1]):
                owners = self.owners()
                self.assertEqual({prefix: owners[prefix] for prefix in (MOVED, KEPT)}, {MOVED: "bob", KEPT: "alice"})
                self.assertEqual([p for p, owner in owners.items() if owner == "carol"], self.peers[2]["allowed_ips"])
                self.assertEqual(self.gateway.show()["generation"], generation + changed)
                diff = self.diff()
                self.assertFalse(diff["changed"], diff)
                self.assert_overridden([warning["text"] for warning in diff["warnings"]])


class WhatTheFileSaysThen(OverrideCase):
    """Each file by reload and then restart, and by restart and then reload: the same becomes of it."""

    def both_ways(self, edit: Callable[[], None], expected: dict[str, str], warned: str | None = None) -> None:
        for live in (True, False):
            with self.subTest("reload, restart" if live else "restart, reload"):
                self.begin()
                self.addCleanup(self.gateway.stop)
                if not live:
                    self.kill()
                edit()
                if live:
                    done = self.reload()
                    self.assertTrue(done["committed"], done)
                    if warned is None:
                        self.assertEqual(done["warnings"], [])
                    else:
                        self.assertTrue(any(warned in warning for warning in done["warnings"]), done["warnings"])
                else:
                    self.gateway.start()
                    if warned is not None:
                        self.assertIn(warned, self.gateway.log.read_text())
                self.assertEqual(self.owners(), expected)
                generation = self.gateway.show()["generation"]
                if live:
                    self.restart()
                self.assertFalse(self.reload()["changed"])
                self.assertFalse(self.diff()["changed"])
                self.assertEqual(self.owners(), expected)
                self.assertEqual(self.gateway.show()["generation"], generation)
                self.assertEqual(self.gateway.stop(), 0)

    def test_the_same(self) -> None:
        def edit() -> None:
            self.peers[0]["allowed_ips"] = [KEPT]
            self.peers[1]["allowed_ips"] = [MOVED]
        self.both_ways(edit, {MOVED: "bob", KEPT: "alice"})

    def test_that_its_old_owner_does_not_have_it(self) -> None:
        def edit() -> None:
            self.peers[0]["allowed_ips"] = [KEPT]
        self.both_ways(edit, {MOVED: "bob", KEPT: "alice"}, f"{MOVED} stays with bob, who got it at run time")

    def test_that_its_old_owner_is_gone(self) -> None:
        def edit() -> None:
            del self.peers[0]
        self.both_ways(edit, {MOVED: "bob"})

    def test_that_its_new_owner_is_gone(self) -> None:
        """The file's line for the old one is as before: nobody asked to give it back."""
        def edit() -> None:
            del self.peers[1]
        self.both_ways(edit, {KEPT: "alice"}, f"{MOVED} of peer alice was released at run time")

    def test_more_of_its_old_owner(self) -> None:
        def edit() -> None:
            self.peers[0]["allowed_ips"] = [MOVED, KEPT, OTHER]
            self.peers[0]["persistent_keepalive"] = 25
        self.both_ways(edit, {MOVED: "bob", KEPT: "alice", OTHER: "alice"}, f"{MOVED} is bob's by an edit at run time")

    def test_a_third_owner_is_refused_by_line_and_by_owner_either_way(self) -> None:
        for live in (True, False):
            with self.subTest("reload" if live else "restart"):
                self.begin()
                generation = self.gateway.show()["generation"]
                if not live:
                    self.kill()
                self.peers[0]["allowed_ips"] = [KEPT]
                self.peers[2]["allowed_ips"] = [MOVED, OTHER]
                if live:
                    done = self.reload()
                    self.assertEqual([(c["prefix"], c["owner"]) for c in done["conflicts"]], [(MOVED, "bob")])
                    said = done["conflicts"][0]["text"]
                else:
                    self.gateway.start()
                    said = self.gateway.log.read_text()
                self.assertRegex(said, rf"{self.gateway.config_file}:\d+:\d+: .*{MOVED}.*bob")
                self.assertEqual(self.owners(), {MOVED: "bob", KEPT: "alice"})
                self.assertEqual(self.gateway.show()["generation"], generation)
                # Moved where the file wants it, the next reload takes the file.
                self.gateway.cli("ips", "move", "wg0", "--from", "bob", "--to", "carol", MOVED)
                self.assertTrue(self.reload()["committed"])
                self.restart()
                self.assertEqual(self.owners(), {MOVED: "carol", KEPT: "alice", OTHER: "carol"})
                self.assertEqual(self.gateway.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
