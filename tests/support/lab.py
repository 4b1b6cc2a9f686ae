"""Throw-away network namespaces for tests and the demo: made, wired, and always taken down again.

A Lab owns one temporary directory, namespaces under names that no other run has, and the processes in
them. It touches nothing that it did not make: no interface ever exists outside of its namespaces, and
what programs keep under /run goes to the temporary directory (see Namespace.command()).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LIBC = ctypes.CDLL(None)


class Failed(Exception):
    """Something in the lab did not work, with what a person needs to understand it."""


class Interrupted(BaseException):
    """A signal asked us to stop. No Exception, so that only the clean-up sees it."""


@contextlib.contextmanager
def stop_on_signals() -> Iterator[None]:
    """Turns the first signal that ends a program into Interrupted, so that every `finally` runs.

    Only the first: a second Ctrl-C must not leave half of the namespaces behind. All waits of the clean-up are bounded.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _signals_ignored() -> Iterator[None]:
    """For a clean-up that starts without a signal but may meet one."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _die_with_parent() -> None:
    """In the child, before exec: it ends when we are killed in a way that leaves no time to clean up."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def run(*command: str, check: bool = True, timeout: float = 30, text_in: str | None = None,
        ) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end. A failure carries the command and what it said."""
    try:
        done = subprocess.run(command, input=text_in, capture_output=True, text=True, timeout=timeout, check=False,
                              stdin=subprocess.DEVNULL if text_in is None else None)
    except subprocess.TimeoutExpired as error:
        if not check:
            return subprocess.CompletedProcess(command, 124, _text(error.stdout), _text(error.stderr))
        raise Failed(f"{shlex.join(command)}: no end after {timeout:.0f} s\n{_text(error.stdout)}") from None
    if check and done.returncode != 0:
        raise Failed(f"{shlex.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
    return done


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def wait_until(what: str, ready: Callable[[], bool], seconds: float = 20, every: float = 0.1) -> None:
    """Polls until `ready`, or fails and names what was waited for. The bound is generous: machines are busy."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)


class Process:
    """A program that runs beside the test, with its output in a file."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.name = log.stem
        self.log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                           start_new_session=True, preexec_fn=_die_with_parent)

    @property
    def pid(self) -> int:
        return self._child.pid

    def running(self) -> bool:
        return self._child.poll() is None

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, number)

    def wait(self, seconds: float = 10) -> int:
        """The exit status; Failed when it does not end in time."""
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} does not end within {seconds:.0f} s") from None

    def stop(self, seconds: float = 10) -> int:
        """SIGTERM, then SIGKILL. The exit status, negative for a signal."""
        if self.running():
            self.signal(signal.SIGTERM)
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            return self._child.wait()

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Namespace:
    """A network namespace of the lab. Programs in it see a /run of their own."""

    def __init__(self, lab: "Lab", name: str) -> None:
        self.name = name
        self.full_name = f"{lab.tag}-{name}"
        self._lab = lab
        # /run/wireguard and /run/dpdk belong to the mount namespace: without a /run for each namespace
        # two interfaces called wg0 would fight for one socket.
        self.run_dir = lab.dir / "run" / name

    def create(self) -> None:
        (self.run_dir / "wireguard").mkdir(parents=True)
        run("ip", "netns", "add", self.full_name)
        self.ip("link", "set", "lo", "up")

    def command(self, *command: str) -> list[str]:
        """What to run outside to get `command` run inside."""
        return ["ip", "netns", "exec", self.full_name, "unshare", "--mount", "--propagation", "private",
                "sh", "-c", 'mount --bind "$1" /run && shift && exec "$@"', "sh", str(self.run_dir), *command]

    def run(self, *command: str, check: bool = True, timeout: float = 30,
            text_in: str | None = None) -> subprocess.CompletedProcess[str]:
        return run(*self.command(*command), check=check, timeout=timeout, text_in=text_in)

    def start(self, name: str, *command: str) -> Process:
        """Runs `command` beside us; its output goes to NAME.log in the lab's directory."""
        return self._lab.adopt(Process(self.command(*command), self._lab.dir / f"{name}.log"))

    def ip(self, *words: str) -> str:
        return run("ip", "-n", self.full_name, *words).stdout

    def sysctl(self, key: str, value: str) -> None:
        run("ip", "netns", "exec", self.full_name, "sysctl", "-qw", f"{key}={value}")

    def address(self, interface: str, *addresses: str) -> None:
        for address in addresses:
            # nodad: duplicate address detection keeps an IPv6 address unusable for a second or two.
            self.ip("address", "add", address, "dev", interface, *(["nodad"] if ":" in address else []))

    def route(self, destination: str, *words: str) -> None:
        self.ip("-6" if ":" in destination else "-4", "route", "add", destination, *words)

    def switch(self, bridge: str = "br0") -> None:
        """Makes this namespace a switch; link() to it with switch_port()."""
        self.ip("link", "add", bridge, "type", "bridge")
        self.ip("link", "set", bridge, "up")
        self.sysctl(f"net.ipv6.conf.{bridge}.disable_ipv6", "1")

    def switch_port(self, interface: str, bridge: str = "br0") -> None:
        self.ip("link", "set", interface, "master", bridge)


class Lab:
    """A context manager that owns everything a test makes on the machine."""

    def __init__(self, label: str) -> None:
        self.tag = f"tp{os.getpid():x}{secrets.token_hex(2)}"
        self.dir = Path()  # made on entry, when signals are already caught
        self.namespaces: list[Namespace] = []
        self._label = label
        self._processes: list[Process] = []
        self._clean_up = contextlib.ExitStack()

    def __enter__(self) -> "Lab":
        self._clean_up.enter_context(stop_on_signals())
        self.dir = Path(tempfile.mkdtemp(prefix=f"turnpike-{self._label}-"))
        return self

    def __exit__(self, *_: object) -> None:
        with _signals_ignored():
            try:
                self.close()
            finally:
                self._clean_up.close()

    def namespace(self, name: str) -> Namespace:
        space = Namespace(self, name)
        self.namespaces.append(space)  # before it exists, so that a signal in between leaves nothing
        space.create()
        return space

    def adopt(self, process: Process) -> Process:
        self._processes.append(process)
        return process

    def link(self, left: Namespace, left_name: str, right: Namespace, right_name: str) -> None:
        """A cable: a veth pair with its ends in the two namespaces, both up.

        Checksums and segmentation are done before the cable. A program that reads raw frames at the other end
        would otherwise see unfinished checksums and packets of up to 64 KiB cut off at its frame size.
        """
        run("ip", "link", "add", left_name, "netns", left.full_name, "type", "veth",
            "peer", "name", right_name, "netns", right.full_name)
        for space, name in ((left, left_name), (right, right_name)):
            run("ip", "netns", "exec", space.full_name, "ethtool", "-K", name, "tx", "off", "gso", "off", "tso", "off")
            space.ip("link", "set", name, "up")

    def raw_port(self, space: Namespace, interface: str) -> None:
        """Leaves an interface to a program: the kernel must not answer or route beside it."""
        space.sysctl(f"net.ipv6.conf.{interface}.disable_ipv6", "1")
        space.ip("link", "set", interface, "promisc", "on")

    def logs(self, lines: int = 30) -> str:
        """The ends of all logs, for somebody who must find out why it failed."""
        parts = [f"--- {p.log.name}\n{p.tail(lines)}" for p in self._processes if p.log.exists()]
        return "\n".join(parts)

    def close(self) -> None:
        """Takes everything down; goes on after an error, so that one stuck piece leaves only itself behind."""
        errors: list[str] = []
        for process in reversed(self._processes):
            process.signal(signal.SIGTERM)
        for process in reversed(self._processes):
            process.stop(5)
        existing = run("ip", "netns", "list", check=False).stdout.split()
        for space in reversed([n for n in self.namespaces if n.full_name in existing]):
            # Whatever runs in a namespace of ours was started by us or by a child of ours.
            for pid in run("ip", "netns", "pids", space.full_name, check=False).stdout.split():
                with contextlib.suppress(ProcessLookupError, ValueError):
                    os.kill(int(pid), signal.SIGKILL)
            done = run("ip", "netns", "delete", space.full_name, check=False)
            if done.returncode != 0:
                errors.append(done.stderr.strip())
        self._processes.clear()
        self.namespaces.clear()
        shutil.rmtree(self.dir, ignore_errors=True)
        if errors:
            raise Failed("clean-up: " + "; ".join(errors))
