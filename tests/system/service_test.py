#!/usr/bin/env python3
"""What systemd hears of the daemon, over a datagram socket as systemd's own: sd_notify(3), Type=notify and notify-reload.

The order of RELOADING=1 and READY=1 and the clock between them are what systemd waits by; STATUS= is for people.
"""

from __future__ import annotations

import configparser
import shlex
import signal
import socket
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from control_client import Control
from durable_case import EXIT_ERROR, DurabilityCase
from durable_load import random_key
from lab import run
from turnpiked import ROOT, program

EXIT_CONFLICTS = 3
# systemd passes over a message that is longer (NOTIFY_BUFFER_MAX).
LONGEST_MESSAGE = 4096
Message = dict[str, str]


class ServiceCase(DurabilityCase):
    def setUp(self) -> None:
        super().setUp()
        path = self.lab.dir / "notify"
        self.notified = self.enterContext(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self.notified.bind(str(path))
        self.gateway.environment["NOTIFY_SOCKET"] = str(path)

    def hear(self, seconds: float = 60) -> Message:
        """The next message."""
        self.notified.settimeout(seconds)
        message = self.notified.recv(1 << 16)
        self.assertLessEqual(len(message), LONGEST_MESSAGE)
        lines = message.decode().split("\n")  # UTF-8, or systemd passes over it
        self.assertEqual([line for line in lines if "=" not in line], [])
        said = dict(line.split("=", 1) for line in lines)
        self.assertEqual(len(said), len(lines), message)
        self.assertLessEqual(said.keys(), {"READY", "RELOADING", "MONOTONIC_USEC", "STOPPING", "STATUS"})
        return said

    def start(self) -> str:
        """Its first message says that it is ready, when it is; the status."""
        self.gateway.spawn()
        said = self.hear()
        self.assertEqual(said.pop("READY"), "1")
        self.assertEqual(self.gateway.cli("show", check=False).returncode, 0, "it is ready when it says so")
        self.assertEqual(list(said), ["STATUS"])
        return said["STATUS"]

    def hear_a_reload(self, asked: int) -> str:
        """RELOADING=1 with the time at which it was sent, then READY=1; the status of the outcome."""
        said = self.hear()
        now = time.monotonic_ns() // 1000
        self.assertEqual(said["RELOADING"], "1")
        self.assertNotIn("READY", said)
        self.assertTrue(asked <= int(said["MONOTONIC_USEC"]) <= now, (asked, said, now))
        said = self.hear()
        self.assertEqual((said["READY"], "RELOADING" in said), ("1", False))
        return said["STATUS"]

    def reload_by_signal(self) -> str:
        """As Type=notify-reload does it."""
        assert self.gateway.process is not None
        asked = time.monotonic_ns() // 1000
        self.gateway.process.signal(signal.SIGHUP)
        return self.hear_a_reload(asked)

    def assert_silent(self) -> None:
        with self.assertRaises(TimeoutError):
            self.fail(f"an unexpected {self.hear(0.5)}")

    @property
    def peers(self) -> list:
        return self.gateway.config["tunnels"][0]["peers"]


class WhatSystemdHears(ServiceCase):
    def test_a_start_reloads_of_both_kinds_and_the_end(self) -> None:
        self.assertEqual(self.start(), f"Started with generation {self.gateway.show()['generation']}")
        self.assertEqual(self.reload_by_signal(), "Reloaded; the file asked for nothing new (generation "
                                                  f"{self.gateway.show()['generation']})")

        self.peers.append({"name": "alice", "public_key": random_key(), "allowed_ips": ["10.9.0.1/32"]})
        self.gateway.write_config()
        generation = self.gateway.show()["generation"]
        self.assertEqual(self.reload_by_signal(), f"Reloaded as generation {generation + 1}")

        # Refused: ready again, and why by line.
        self.peers[0]["allowed_ips"].append("10.9.0.1/33")
        self.gateway.write_config()
        status = self.reload_by_signal()
        self.assertRegex(status, rf"^The last reload was refused and changed nothing \(generation {generation + 1}\): "
                                 rf"{self.gateway.config_file}:\d+:\d+: .*above 32")
        self.peers[0]["allowed_ips"].pop()

        # Over the API it is the same, conflicts too; a dry run is no reload.
        self.gateway.cli("ips", "claim", "wg0", "alice", "10.9.0.2/32")
        self.peers.append({"name": "bob", "public_key": random_key(), "allowed_ips": ["10.9.0.2/32"]})
        self.gateway.write_config()
        asked = time.monotonic_ns() // 1000
        self.assertEqual(self.gateway.cli("reload", check=False).returncode, EXIT_CONFLICTS)
        self.assertRegex(self.hear_a_reload(asked), "The last reload was refused.*10.9.0.2/32.*alice")
        self.assertEqual(self.gateway.cli("reload", "--dry-run", check=False).returncode, EXIT_CONFLICTS)
        self.assert_silent()

        self.assertEqual(self.gateway.stop(), 0)
        self.assertEqual(self.hear(), {"STOPPING": "1", "STATUS": "Stopping after SIGTERM"})
        self.assert_silent()

    def test_reloads_that_overlap_are_ready_when_the_last_one_is(self) -> None:
        self.start()
        assert self.gateway.process is not None
        controls = [self.enterContext(Control(self.gateway.socket)) for _ in range(3)]
        for control in controls:
            self.assertEqual(control.ask("GET", "/v1/owner?tunnel=wg0&prefix=10.9.0.1/32").status, 200)
        # What all asked while it stood still, it meets at once.
        self.gateway.process.signal(signal.SIGSTOP)
        for control in controls:
            control.send("POST", "/v1/reload")
        self.gateway.process.signal(signal.SIGHUP)
        self.gateway.process.signal(signal.SIGCONT)
        self.assertEqual([control.receive().status for control in controls], [200] * 3)
        reloads = len(controls) + 1
        running = begun = ended = 0
        while ended < reloads:
            said = self.hear()
            if "RELOADING" in said:
                running, begun = running + 1, begun + 1
            else:
                running, ended = running - 1, ended + 1
                self.assertEqual("READY" in said, running == 0, (running, said))
        self.assertEqual((running, begun), (0, reloads))
        self.assert_silent()

    def test_a_file_that_is_refused_at_start_is_in_the_status(self) -> None:
        self.peers.append({"name": "alice", "public_key": random_key(), "allowed_ips": []})
        self.start()
        self.gateway.cli("ips", "claim", "wg0", "alice", "10.9.0.2/32")
        generation = self.gateway.show()["generation"]
        self.kill()
        self.peers.append({"name": "bob", "public_key": random_key(), "allowed_ips": ["10.9.0.2/32"]})
        self.assertRegex(self.start(), rf"^Started with generation {generation} as it was stored; nothing of the file "
                                       rf"was applied: {self.gateway.config_file}:\d+:\d+: .*10\.9\.0\.2/32.*alice")

    def test_a_start_that_fails_says_why_and_nothing_else(self) -> None:
        self.gateway.config["dataplane"]["workers"] = [1000]
        self.gateway.spawn()
        assert self.gateway.process is not None
        self.assertEqual(self.gateway.process.wait(60), EXIT_ERROR)
        self.assertRegex(self.hear().pop("STATUS"), "CPU 1000 does not exist")
        self.assert_silent()

    def test_text_of_a_file_is_no_message_of_its_own(self) -> None:
        """A line break would begin an assignment; what is too long, or no text, would not be heard at all."""
        self.start()
        good = self.gateway.config_file.read_text()
        for key in ('"x\\nMAINPID=1"', f'"{"long" * 5000}"', f'"{"ä" * 5000}"', '"\\x01\\x85\\u2028"'):
            self.gateway.config_file.write_text(f"{good}{key}: 1\n")
            assert self.gateway.process is not None
            asked = time.monotonic_ns() // 1000
            self.gateway.process.signal(signal.SIGHUP)
            self.assertIn("refused", self.hear_a_reload(asked))
        self.gateway.config_file.write_bytes(good.encode() + b"\xff\xfe: 1\n")
        self.assertIn("refused", self.reload_by_signal())


class TheJournal(ServiceCase):
    def test_has_each_line_with_its_priority_and_no_file_has(self) -> None:
        # As systemd sets it, for the file that the daemon's stderr goes to.
        log = self.lab.dir / f"turnpiked-{self.gateway.name}.log"
        log.touch()
        status = log.stat()
        self.gateway.environment["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
        self.start()
        self.gateway.config["dataplane"]["memory"] = 1024
        self.gateway.write_config()
        self.reload_by_signal()
        self.assertEqual(self.gateway.stop(), 0)
        text = log.read_text()
        self.assertRegex(text, "(?m)^<6>info: ready: ")
        self.assertRegex(text, "(?m)^<3>error: reload: nothing of the file was applied$")
        self.assertEqual([line for line in text.splitlines() if not line.startswith("<")], [])
        # Of a service that has started us with another stderr.
        log.unlink()
        self.gateway.environment["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino + 1}"
        self.gateway.config["dataplane"]["memory"] = 512
        self.hear()
        self.start()
        self.assertRegex(log.read_text(), r"(?m)^2\S+ \S+ info: ready: ")


class TheUnit(ServiceCase):
    def setUp(self) -> None:
        super().setUp()
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read(ROOT / "control/daemon/turnpiked.service")
        self.unit = parser["Service"]

    def test_fits_the_systemd_of_debian_12_and_the_daemon(self) -> None:
        # notify-reload came with systemd 253; this one (252) would take it for a mistake, and the service for simple.
        self.assertEqual(self.unit["Type"], "notify")
        self.assertEqual(self.unit["ExecStart"], "/usr/local/bin/turnpiked --config /etc/turnpike/turnpike.yaml")
        # The daemon writes its messages itself, and no child may.
        self.assertEqual(self.unit.get("NotifyAccess", "main"), "main")
        self.assertEqual(self.unit.get("KillSignal", "SIGTERM"), "SIGTERM")

    def test_its_reload_waits_for_the_outcome_and_fails_where_the_file_is_refused(self) -> None:
        words = shlex.split(self.unit["ExecReload"])
        self.assertEqual(words, ["/usr/local/bin/turnpike", "reload"])
        command = ["env", f"TURNPIKE_SOCKET={self.gateway.socket}", program("turnpike"), *words[1:]]
        self.start()
        asked = time.monotonic_ns() // 1000
        self.assertEqual(run(*command).returncode, 0)
        self.hear_a_reload(asked)
        self.gateway.config["dataplane"]["memory"] = 1024
        self.gateway.write_config()
        asked = time.monotonic_ns() // 1000
        refused = run(*command, check=False)
        self.assertEqual(refused.returncode, EXIT_ERROR)
        self.assertIn("dataplane.memory: restart needed", refused.stdout + refused.stderr)
        self.assertIn("restart needed", self.hear_a_reload(asked))


if __name__ == "__main__":
    unittest.main(verbosity=2)
