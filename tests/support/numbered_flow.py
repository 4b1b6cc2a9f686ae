"""Numbered UDP datagrams from one namespace to an address that several others have, and what became of each.

All processes read one clock (CLOCK_MONOTONIC is the machine's), so a datagram's way can be laid beside the moves of
its prefix without any allowance: it was in the gateway at some time between its stamp, taken before it was sent,
and its arrival, taken after it was received.
"""

from __future__ import annotations

import bisect
import collections
import dataclasses
import mmap
import struct
import sys
import time
from pathlib import Path

from lab import Failed, Lab, Namespace, Process, wait_until

PORT = 9000
_RECORD = struct.Struct("<QQQ")  # number, stamp, arrival
_PROGRESS = struct.Struct("<QQ")  # sent so far, stop

# Never faster than the interval: after a pause of the machine it does not catch up, which would be a burst.
_SENDER = """
import mmap, socket, struct, sys, time
address, port, interval_ns, progress = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
with open(progress, "r+b") as file:
    shared = mmap.mmap(file.fileno(), 16)
out = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
out.connect((address, port))
number = 0
while not struct.unpack_from("<Q", shared, 8)[0]:
    stamp = time.monotonic_ns()
    out.send(struct.pack("<QQ", number, stamp))
    number += 1
    struct.pack_into("<Q", shared, 0, number)
    time.sleep(interval_ns / 1e9)
"""

_RECEIVER = """
import os, socket, struct, sys, time
address, port, log = sys.argv[1], int(sys.argv[2]), sys.argv[3]
inlet = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
inlet.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
inlet.bind((address, port))
out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
while True:
    datagram = inlet.recv(2048)
    os.write(out, struct.pack("<QQQ", *struct.unpack("<QQ", datagram), time.monotonic_ns()))
"""


@dataclasses.dataclass(frozen=True)
class Arrival:
    number: int
    stamp_ns: int
    arrived_ns: int
    receiver: str


@dataclasses.dataclass(frozen=True)
class Move:
    """An acknowledged hand-over; the commit lies somewhere between the two times."""

    taker: str
    asked_ns: int
    acknowledged_ns: int


@dataclasses.dataclass
class Verdict:
    sent: int
    lost: list[int]
    twice: list[int]
    astray: list[Arrival]  # at somebody who did not own the prefix at any time of their way
    changes: int  # how often, in the order of the numbers, the receiver changed
    received: collections.Counter[str]

    @property
    def flawless(self) -> bool:
        return not (self.lost or self.twice or self.astray)

    def __str__(self) -> str:
        return (f"{self.sent} sent, {len(self.lost)} lost {self.lost[:10]}, {len(self.twice)} twice {self.twice[:10]}, "
                f"{len(self.astray)} to a wrong owner {self.astray[:3]}, received {dict(self.received)}")


def judge(sent: int, arrivals: list[Arrival], first_owner: str, moves: list[Move]) -> Verdict:
    """What became of numbers 0 to `sent`; `moves` in their order."""
    # A name owned the prefix at most from the request that gave it until the answer to that which took it away.
    tenures: dict[str, list[tuple[int, int]]] = collections.defaultdict(list)
    owner, since = first_owner, 0
    for move in moves:
        tenures[owner].append((since, move.acknowledged_ns))
        owner, since = move.taker, move.asked_ns
    tenures[owner].append((since, sys.maxsize))
    ends = {name: [end for _, end in spans] for name, spans in tenures.items()}

    def rightful(arrival: Arrival) -> bool:
        spans = tenures.get(arrival.receiver, [])
        at = bisect.bisect_left(ends.get(arrival.receiver, []), arrival.stamp_ns)  # the first that had not ended
        return at < len(spans) and spans[at][0] <= arrival.arrived_ns

    counts = collections.Counter(a.number for a in arrivals)
    ordered = sorted(arrivals, key=lambda a: a.number)
    return Verdict(sent=sent, lost=[n for n in range(sent) if n not in counts],
                   twice=[n for n, count in counts.items() if count > 1],
                   astray=[a for a in arrivals if not rightful(a)],
                   changes=sum(a.receiver != b.receiver for a, b in zip(ordered, ordered[1:])),
                   received=collections.Counter(a.receiver for a in arrivals))


class NumberedFlow:
    """One sender and a receiver in each of `receivers`, which must have `address` already."""

    def __init__(self, lab: Lab, sender: Namespace, receivers: list[Namespace], address: str, label: str) -> None:
        self._sender, self._address, self._label = sender, address, label
        self._progress_file = lab.dir / f"{label}.progress"
        self._progress_file.write_bytes(bytes(_PROGRESS.size))
        with self._progress_file.open("r+b") as file:
            self._progress = mmap.mmap(file.fileno(), _PROGRESS.size)
        self._logs = {space.name: lab.dir / f"{label}-{space.name}.records" for space in receivers}
        self._processes: list[Process] = []
        for space in receivers:
            self._processes.append(space.start(f"{label}-{space.name}", sys.executable, "-c", _RECEIVER, address,
                                               str(PORT), str(self._logs[space.name])))
        wait_until("the receivers", lambda: all(log.exists() for log in self._logs.values()))

    def start(self, interval_ms: float) -> None:
        self._processes.insert(0, self._sender.start(f"{self._label}-sender", sys.executable, "-c", _SENDER,
                                                     self._address, str(PORT), str(int(interval_ms * 1e6)),
                                                     str(self._progress_file)))

    @property
    def sent(self) -> int:
        return _PROGRESS.unpack_from(self._progress)[0]

    def wait_for(self, more: int) -> None:
        """Until `more` datagrams were sent. All but the first of them are stamped after this call began."""
        target, patience = self.sent + more, 60.0
        while self.sent < target:
            # Time in which the whole machine stood still is not the sender's.
            before = time.monotonic()
            time.sleep(0.0005)
            patience -= min(time.monotonic() - before, 0.1)
            if patience < 0 or not self._processes[0].running():
                raise Failed(f"the sender stopped at {self.sent}, {target} wanted: {self._processes[0].tail()}")

    def _records(self, log: Path) -> list[tuple[int, int, int]]:
        data = log.read_bytes()
        return list(_RECORD.iter_unpack(data[:len(data) // _RECORD.size * _RECORD.size]))

    def _count(self) -> int:
        return sum(log.stat().st_size // _RECORD.size for log in self._logs.values())

    def finish(self, patience_s: float = 10) -> tuple[int, list[Arrival]]:
        """Stops the sender, waits for what is on its way; how many were sent, and all arrivals."""
        _PROGRESS.pack_into(self._progress, 0, self.sent, 1)
        self._processes[0].wait(30)
        end = time.monotonic() + patience_s
        while self._count() < self.sent and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.5)  # a second copy comes soon after the first or not at all
        for process in self._processes[1:]:
            if not process.running():
                raise Failed(f"{process.name} ended: {process.tail()}")
            process.stop()
        sent = self.sent
        self._progress.close()
        return sent, [Arrival(*record, receiver=name) for name, log in self._logs.items()
                      for record in self._records(log)]
