"""The frame of a test of durable state: a running turnpiked without any traffic, whose disk is a real one."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import unittest
from pathlib import Path

import requirements
from control_client import Control
from durable_load import random_key
from lab import Lab
from outcome import has_failed
from turnpiked import Config, Gateway, program

EXIT_ERROR = 1


def fill(directory: Path) -> Path:
    """A file that takes all the room that is left."""
    filler = directory / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, b"x" * 4096)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    finally:
        os.close(descriptor)
    return filler


class DurabilityCase(unittest.TestCase):
    """A gateway whose ports lead nowhere, so that it starts fast; its state is on a disk and synced."""

    @classmethod
    def setUpClass(cls) -> None:
        requirements.need(("ip",))

    def setUp(self) -> None:
        self.lab = self.enterContext(Lab("durable"))
        self.addCleanup(self.print_logs_of_a_failure)
        self.space = self.lab.namespace("gateway")
        ports: list[Config] = [
            {"name": "outside", "device": "net_null0", "addresses": ["192.0.2.1/24"]},
            {"name": "inside", "device": "net_null1", "addresses": ["10.0.0.1/24"]}]
        self.gateway = Gateway(self.lab, self.space, ports, [{
            "name": "wg0", "private_key": random_key(), "listen_port": 51820, "outside": "outside",
            "inside": "inside", "addresses": ["10.8.0.1/24"], "peers": []}])
        self.gateway.config["control"]["durability"] = "full"

    @property
    def state(self) -> Path:
        return Path(self.gateway.config["control"]["state"])

    def print_logs_of_a_failure(self) -> None:
        if has_failed(self):
            print(self.lab.logs(40), file=sys.stderr, flush=True)

    def control(self) -> Control:
        return self.enterContext(Control(self.gateway.socket))

    def kill(self) -> None:
        assert self.gateway.process is not None
        self.gateway.process.signal(signal.SIGKILL)
        self.gateway.process.wait()

    def restart(self) -> None:
        self.kill()
        self.gateway.start()

    def owner(self, prefix: str) -> str | None:
        return json.loads(self.gateway.cli("owner", "wg0", prefix, "--json").stdout)["peer"]

    def add_peer(self, name: str, *prefixes: str) -> None:
        self.gateway.cli("peer", "add", "wg0", name, "--public-key", random_key(),
                         *(["--allowed-ips", ",".join(prefixes)] if prefixes else []))

    def refused_start(self) -> str:
        """The daemon ends by itself with status 1; what it said."""
        done = self.space.run(program("turnpiked"), "--config", str(self.gateway.config_file), check=False, timeout=60)
        self.assertEqual(done.returncode, EXIT_ERROR, done.stderr)
        return done.stderr
