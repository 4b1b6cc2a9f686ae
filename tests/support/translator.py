"""A translator of addresses between clients and a gateway, as home routers are: UDP only, and forgetful.

    client ── switch ── translator ── switch ── gateway

Whatever a client sends to the translator's LISTEN_PORT goes on to the gateway from a port of the translator's own, and
answers come back. A mapping that carried nothing towards the gateway for `forget_s` seconds is gone, and with it the
way back: the next message of the client gets another port.
"""

from __future__ import annotations

import sys

from lab import Namespace, Process, wait_until

LISTEN_PORT = 50000

_TRANSLATOR = """
import collections, select, socket, sys, time
address, gateway = sys.argv[1:3]
port, forget_s, listen_port, delay_s = int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]), float(sys.argv[6])

def udp(number):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, number))
    return made

inner, mappings, waiting = udp(listen_port), {}, collections.deque()
print("ready", flush=True)
while True:
    now = time.monotonic()
    while waiting and waiting[0][0] <= now:
        _, outlet, datagram, to = waiting.popleft()
        outlet.sendto(datagram, to)
    patience = min(0.1, waiting[0][0] - now) if waiting else 0.1
    ready, _, _ = select.select([inner, *(m[0] for m in mappings.values())], [], [], patience)
    now = time.monotonic()
    for client, (outer, last) in list(mappings.items()):
        if now - last > forget_s:
            outer.close()
            del mappings[client]
            print("forgot", client, flush=True)
        elif outer in ready:
            datagram, source = outer.recvfrom(2048)
            if source == (gateway, port):
                waiting.append((now + delay_s, inner, datagram, client))
    if inner in ready:
        datagram, client = inner.recvfrom(2048)
        if client not in mappings:
            mappings[client] = [udp(0), now]
        mappings[client][1] = now
        waiting.append((now + delay_s, mappings[client][0], datagram, (gateway, port)))
"""


def start(space: Namespace, address: str, gateway: str, port: int, forget_s: float, delay_s: float = 0) -> Process:
    """`delay_s` is what a message takes each way."""
    words = (address, gateway, str(port), str(forget_s), str(LISTEN_PORT), str(delay_s))
    process = space.start(f"translator-{space.name}", sys.executable, "-c", _TRANSLATOR, *words)
    wait_until("the translator", lambda: "ready" in process.tail())
    return process
