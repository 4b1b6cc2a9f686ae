"""Real WireGuard ends for tests: Debian's wireguard-go and wg in namespaces of a Lab."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from lab import Failed, Lab, Namespace, Process, run, wait_until


@dataclasses.dataclass(frozen=True)
class KeyPair:
    """A private key and its public key, in the base64 that wg(8) uses."""

    private: str
    public: str

    @staticmethod
    def make() -> "KeyPair":
        private = run("wg", "genkey").stdout.strip()
        return KeyPair(private, run("wg", "pubkey", text_in=private + "\n").stdout.strip())


def make_preshared_key() -> str:
    return run("wg", "genpsk").stdout.strip()


def write_secret(path: Path, text: str) -> Path:
    """A file that only its owner may read, from its first moment on."""
    path.touch(mode=0o600)
    path.write_text(text + "\n")
    return path


@dataclasses.dataclass(frozen=True)
class Peer:
    """The other side as a client's configuration has it."""

    public_key: str
    allowed_ips: tuple[str, ...]
    endpoint: str | None = None
    preshared_key: str | None = None
    keepalive: int = 0


@dataclasses.dataclass(frozen=True)
class Status:
    """What `wg show INTERFACE dump` says of one peer."""

    endpoint: str
    last_handshake: int  # seconds since 1970, 0: never
    rx_bytes: int
    tx_bytes: int


class Client:
    """One WireGuard interface, wireguard-go in user space, in one namespace."""

    def __init__(self, lab: Lab, space: Namespace, keys: KeyPair, addresses: tuple[str, ...],
                 listen_port: int = 0, mtu: int = 1420, interface: str = "wg0") -> None:
        self.space = space
        self.keys = keys
        self.interface = interface
        self._lab = lab
        self._mtu = mtu
        self._addresses = addresses
        self._listen_port = listen_port
        self._peers: list[Peer] = []
        self.process: Process = self._start()

    def _start(self) -> Process:
        socket = self.space.run_dir / "wireguard" / f"{self.interface}.sock"
        # The variable keeps older versions from refusing on a kernel that may have WireGuard built in.
        process = self.space.start(f"{self.space.name}-{self.interface}",
                                   "env", "LOG_LEVEL=verbose", "WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD=1",
                                   "wireguard-go", "--foreground", self.interface)

        def ready() -> bool:
            if not process.running():
                raise Failed(f"wireguard-go ended:\n{process.tail()}")
            return socket.exists()

        wait_until(f"wireguard-go in {self.space.name}", ready)
        key = write_secret(self._lab.dir / f"{self.space.name}-{self.interface}.key", self.keys.private)
        port = ["listen-port", str(self._listen_port)] if self._listen_port else []
        self.wg("set", self.interface, *port, "private-key", str(key))
        self.space.address(self.interface, *self._addresses)
        self.space.ip("link", "set", self.interface, "mtu", str(self._mtu), "up")
        return process

    def wg(self, *words: str) -> str:
        return self.space.run("wg", *words).stdout

    def set_peer(self, peer: Peer, routes: bool = True) -> None:
        """Adds or changes a peer; its allowed IPs become routes unless `routes` is false."""
        words = ["set", self.interface, "peer", peer.public_key, "allowed-ips", ",".join(peer.allowed_ips)]
        if peer.endpoint:
            words += ["endpoint", peer.endpoint]
        if peer.preshared_key:
            path = write_secret(self._lab.dir / f"{self.space.name}-{len(self._peers)}.psk", peer.preshared_key)
            words += ["preshared-key", str(path)]
        if peer.keepalive:
            words += ["persistent-keepalive", str(peer.keepalive)]
        self.wg(*words)
        if routes and all(p.public_key != peer.public_key for p in self._peers):
            for prefix in peer.allowed_ips:
                self.space.ip("-6" if ":" in prefix else "-4", "route", "replace", prefix, "dev", self.interface)
        self._peers = [p for p in self._peers if p.public_key != peer.public_key] + [peer]

    def restart(self) -> None:
        """Ends wireguard-go and starts it with the same keys, peers and routes, as after a crash."""
        self.process.stop()
        self.process = self._start()
        peers, self._peers = self._peers, []
        for peer in peers:
            self.set_peer(peer)

    def status(self, public_key: str) -> Status:
        for line in self.wg("show", self.interface, "dump").splitlines()[1:]:
            fields = line.split("\t")
            if fields[0] == public_key:
                return Status(fields[2], int(fields[4]), int(fields[5]), int(fields[6]))
        raise Failed(f"{self.interface} in {self.space.name} has no peer {public_key}")


def ping(space: Namespace, address: str, count: int = 3, size: int = 56, wait: float = 5,
         source: str | None = None, interval: float = 0.2) -> tuple[int, int]:
    """Pings, and returns (sent, received). Nothing is lost on these links, but the first may wait for a handshake."""
    words = ["ping", "-n", "-q", "-i", str(interval), "-c", str(count), "-s", str(size), "-W", str(int(wait))]
    if source:
        words += ["-I", source]
    out = space.run(*words, address, check=False, timeout=wait + count + 30).stdout
    for line in out.splitlines():
        if "packets transmitted" in line:
            numbers = [int(w) for w in line.replace(",", "").split() if w.isdigit()]
            return numbers[0], numbers[1]
    raise Failed(f"ping {address} in {space.name} said:\n{out}")


def iperf(server: Namespace, client: Namespace, address: str, seconds: int = 3, reverse: bool = False,
          length_bytes: int | None = None, port: int = 5201) -> float:
    """TCP for `seconds` from client to server (or back); the receiver's rate in Mbit/s."""
    service = server.start(f"iperf3-{server.name}-{client.name}-{port}", "iperf3", "-s", "-1", "-p", str(port))
    wait_until("iperf3 -s", lambda: f":{port} " in server.run("ss", "-Hltn").stdout)
    words = ["iperf3", "--json", "-c", address, "-p", str(port), "--connect-timeout", "10000"]
    words += ["-n", str(length_bytes)] if length_bytes else ["-t", str(seconds)]
    done = client.run(*words, *(["-R"] if reverse else []), check=False, timeout=seconds + 60)
    service.stop(5)
    try:
        report = json.loads(done.stdout)
        return report["end"]["sum_received"]["bits_per_second"] / 1e6
    except (ValueError, KeyError):
        raise Failed(f"iperf3 to {address}: {done.stdout[-500:]}{done.stderr}") from None
