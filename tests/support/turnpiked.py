"""Starts and stops turnpiked in a namespace of a Lab, writes its YAML, reads `turnpike show --json`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from lab import Failed, Lab, Namespace, Process, wait_until

ROOT = Path(__file__).resolve().parents[2]
# The build under test; meson sets it, so that a sanitized build can be tried in the same way.
BUILD = Path(os.environ.get("TURNPIKE_BUILD_DIR", ROOT / "build"))

# turnpiked, but its keys live some seconds: see meson_options.txt.
SHORT_KEYS = "turnpiked-short-keys"

Config = dict[str, Any]

_PLAIN_SCALAR = re.compile(r"[A-Za-z/][A-Za-z0-9_./,=@-]*$")
_NOT_A_STRING = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def _scalar(value: object) -> str:
    """Quoted unless it is plainly a word: YAML reads too many things as numbers and times."""
    if isinstance(value, str) and _PLAIN_SCALAR.match(value) and value.lower() not in _NOT_A_STRING:
        return value
    return json.dumps(value)


def to_yaml(value: object, indent: int = 0) -> str:
    """Block style as a person would write it; lists of scalars stay on one line."""
    pad = " " * indent
    if isinstance(value, dict):
        lines = []
        for key, child in value.items():
            nested = isinstance(child, dict) or (isinstance(child, list) and any(isinstance(c, dict) for c in child))
            if nested and child:
                lines.append(f"{pad}{key}:\n{to_yaml(child, indent + 2)}")
            else:
                lines.append(f"{pad}{key}: {to_yaml(child)}")
        return "\n".join(lines)
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        # The dash takes the place of the first two blanks of the item's block.
        return "\n".join(f"{pad}- {to_yaml(item, indent + 2)[indent + 2:]}" for item in value)
    if isinstance(value, list):
        return "[" + ", ".join(_scalar(item) for item in value) + "]"
    return _scalar(value)


def program(name: str) -> str:
    """The path of turnpiked, of its kind with short-lived keys, or of turnpike in the build under test."""
    folder = {"turnpiked": "control/daemon", SHORT_KEYS: "tests/system", "turnpike": "control/cli"}[name]
    for path in (BUILD / name, BUILD / folder / name):
        if path.exists():
            return str(path)
    raise Failed(f"{BUILD / name} does not exist; run scripts/build")

METRICS = "127.0.0.1:9586"  # within the gateway's namespace
_SCRAPE = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode(), end='')"


def worker_cpus(count: int) -> list[int]:
    """CPUs for `count` workers: the last ones, since the session and control threads sit on the first."""
    usable = sorted(os.sched_getaffinity(0))
    if count > len(usable):
        raise Failed(f"{count} workers need {count} CPUs; this machine lets us use {len(usable)}")
    return usable[-count:]


def null_ports() -> list[Config]:
    """An outside and an inside port, for tests in which no packet comes."""
    return [{"name": name, "device": f"net_null{i},no-rx=1", "addresses": [f"192.0.{i}.1/24"]}
            for i, name in enumerate(("outside", "inside"))]


class Gateway:
    """One turnpiked with everything that it keeps in the lab's directory."""

    def __init__(self, lab: Lab, space: Namespace, ports: list[Config], tunnels: list[Config],
                 workers: int = 1, name: str = "gateway", daemon: str = "turnpiked", **dataplane: object) -> None:
        self.space = space
        self.name = name
        self.daemon = daemon
        self.dir = lab.dir / name
        self.dir.mkdir(mode=0o700)
        self.socket = self.dir / "control.sock"
        self.config_file = self.dir / "turnpike.yaml"
        self.process: Process | None = None
        self.environment: dict[str, str] = {}  # what turnpiked finds beside ours
        self.started_by: list[str] = []  # a command that takes away rights and then becomes what follows it
        first = min(os.sched_getaffinity(0))
        self.config: Config = {
            "dataplane": {"workers": worker_cpus(workers), "main_core": first, "session_cores": [first],
                          "hugepages": False, "memory": 512, "file_prefix": lab.tag, **dataplane},
            "ports": ports,
            "tunnels": tunnels,
            # In a namespace of the lab this is a /run of our own, where the stock wg looks.
            "control": {"socket": str(self.socket), "wg_socket_dir": "/var/run/wireguard", "metrics": "",
                        "state": str(self.dir / "state.db"), "durability": "off"},
        }

    @property
    def log(self) -> Path:
        assert self.process is not None
        return self.process.log

    def write_config(self) -> None:
        self.config_file.touch(mode=0o600)
        self.config_file.write_text(to_yaml(self.config) + "\n")

    def spawn(self) -> None:
        """Writes the configuration and begins to start."""
        self.write_config()
        self.process = self.space.start(f"turnpiked-{self.name}", "env", *(f"{k}={v}" for k, v in self.environment.items()),
                                        *self.started_by, program(self.daemon), "--config", str(self.config_file))

    def start(self, seconds: float = 60) -> None:
        """Writes the configuration and waits until the daemon answers."""
        self.spawn()

        def ready() -> bool:
            self.check_alive()
            return self.cli("show", "--json", check=False).returncode == 0

        wait_until("turnpiked answers `turnpike show`", ready, seconds, every=0.2)

    def check_alive(self) -> None:
        assert self.process is not None
        if not self.process.running():
            raise Failed(f"turnpiked ended with {self.process.wait()}:\n{self.process.tail()}")

    def cli(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.space.run(program("turnpike"), "--socket", str(self.socket), *words, check=check)

    def show(self) -> dict[str, Any]:
        return json.loads(self.cli("show", "--json").stdout)

    def metric(self, sample: str) -> float:
        """The value of one sample; the configuration names METRICS."""
        text = self.space.run(sys.executable, "-c", _SCRAPE, f"http://{METRICS}/metrics").stdout
        for line in text.splitlines():
            if line.startswith(sample + " "):
                return float(line.rsplit(" ", 1)[1])
        raise Failed(f"there is no {sample} in\n{text}")

    def telemetry(self, command: str) -> Any:
        """What dpdk-telemetry.py answers."""
        prefix = self.config["dataplane"]["file_prefix"]
        answer = self.space.run("sh", "-c", f"echo {command} | dpdk-telemetry.py -f {prefix}").stdout
        # What it says before the answer (its greeting) is JSON on lines of its own, too.
        name = command.split(",")[0]
        for line in answer.splitlines():
            if line.startswith("{") and name in line:
                return json.loads(line)[name]
        raise Failed(f"dpdk-telemetry.py did not answer {command}: {answer}")

    def peer(self, name: str) -> dict[str, Any]:
        """What `show` says of one peer."""
        for peer in self.show()["peers"]:
            if peer["name"] == name:
                return peer
        raise Failed(f"turnpike show knows no peer {name}")

    def stop(self, seconds: float = 20) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        return self.process.stop(seconds)
