#!/usr/bin/env python3
"""What turnpiked cannot use keeps it from starting: one line that says what and what would be right, exit 1, and
nothing left behind."""

from __future__ import annotations

import resource
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import requirements
from lab import Lab
from turnpiked import Config, Gateway, null_ports, program
from wireguard import KeyPair, write_secret

MISSING_CPU = 1000


class Refusals(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        requirements.need(("ip", "wg"))

    def setUp(self) -> None:
        self.lab = self.enterContext(Lab("startup"))
        secret = write_secret(self.lab.dir / "wg0.key", KeyPair.make().private)
        self.gateway = Gateway(
            self.lab, self.lab.namespace("gateway"),
            null_ports(),
            [{"name": "wg0", "private_key_file": str(secret), "listen_port": 51820, "outside": "outside",
              "inside": "inside"}], memory=128)

    def refusal(self, limits: dict[int, int] | None = None) -> str:
        """The one line that the daemon says when it is started."""
        self.gateway.write_config()

        def limit() -> None:
            for kind, value in (limits or {}).items():
                resource.setrlimit(kind, (value, value))

        done = subprocess.run([program("turnpiked"), "--config", str(self.gateway.config_file)], text=True,
                              capture_output=True, timeout=60, preexec_fn=limit, check=False)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        lines = done.stderr.splitlines()
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertIn(" error: ", lines[0])
        self.assertFalse(self.gateway.socket.exists())
        return lines[0]

    def assert_refused(self, part: str, change: Config, *said: str) -> None:
        before = self.gateway.config[part]
        self.gateway.config[part] = {**before, **change} if isinstance(before, dict) else change
        line = self.refusal()
        for word in said:
            self.assertIn(word, line)
        self.gateway.config[part] = before

    def test_a_cpu_that_does_not_exist(self) -> None:
        for key, value in (("workers", [MISSING_CPU]), ("main_core", MISSING_CPU), ("session_cores", [MISSING_CPU])):
            self.assert_refused("dataplane", {key: value}, f"dataplane.{key}: CPU {MISSING_CPU} does not exist")

    def test_a_port_that_cannot_be_opened(self) -> None:
        outside, inside = self.gateway.config["ports"]
        for device in ("net_af_packet0,iface=tp-none", "net_no_such_driver0", "0000:ff:1f.7"):
            self.gateway.config["ports"] = [{**outside, "device": device}, inside]
            self.assertIn(f"port outside ({device}): ", self.refusal())

    def test_memory_that_cannot_be_had(self) -> None:
        self.assert_refused("dataplane", {"memory": 1 << 20}, "dataplane.memory", "available")
        # What the system refuses when it is asked.
        self.assertIn("memory", self.refusal({resource.RLIMIT_AS: 400_000_000}))

    def test_too_few_open_files(self) -> None:
        """DPDK and Boost.Asio stop the process with some of these."""
        for files in (8, 12, 16):
            line = self.refusal({resource.RLIMIT_NOFILE: files})
            self.assertIn(f"may open {files} files (RLIMIT_NOFILE)", line)
            self.assertIn("allow at least 1024", line)

    def test_arguments_that_dpdk_does_not_know(self) -> None:
        self.assert_refused("dataplane", {"eal": ["--no-such-thing"]}, "--no-such-thing", "dataplane.eal")

    def test_a_state_directory_that_cannot_be_written(self) -> None:
        file = self.lab.dir / "file"
        file.touch()
        for state in ("/proc/turnpike/state.db", str(file / "state.db"), str(self.lab.dir)):
            self.assert_refused("control", {"durability": "full", "state": state}, "control.state: ")

    def test_sockets_that_cannot_be_made(self) -> None:
        self.assert_refused("control", {"socket": "/proc/turnpike.sock"}, "control.socket: ")
        self.assert_refused("control", {"wg_socket_dir": "/proc/wireguard"}, "control.wg_socket_dir: ")
        self.assert_refused("control", {"group": "no-such-group"}, "control.group", "no-such-group")


if __name__ == "__main__":
    unittest.main(verbosity=2)
