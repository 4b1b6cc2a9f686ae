#!/usr/bin/env python3
"""Sends initiations that look right (mac1 is) as fast as asked, from made-up addresses, out of one interface.

    flood.py INTERFACE GATEWAY-MAC GATEWAY-ADDRESS PORT PUBLIC-KEY RATE SECONDS SOURCES
SOURCES is a prefix whose addresses are the senders. Prints how many were sent. Runs in the namespace of the interface.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import random
import socket
import struct
import sys
import time

from noise_peer import INITIATION, with_macs
from packets import ETH_IPV4, ethernet, ip_udp, mac_bytes

_FRAMES = 2_000
_BURST_SECONDS = 0.002


def frames(gateway_mac: bytes, address: str, port: int, responder: bytes, sources: str) -> list[bytes]:
    pick = random.Random(1)
    network = ipaddress.ip_network(sources)
    made = []
    for _ in range(_FRAMES):
        # What is behind the sender's index is noise: to find that out takes a multiplication.
        body = struct.pack("<II", INITIATION, pick.getrandbits(32)) + os.urandom(108)
        source = str(network[pick.randrange(1, network.num_addresses - 1)])
        packet = ip_udp(source, address, pick.randrange(1024, 65536), port, with_macs(body, responder))
        made.append(ethernet(gateway_mac, b"\x02\0\0\0\xbb\1", ETH_IPV4, packet))
    return made


def main() -> None:
    interface, mac, address, port, key, rate, seconds, sources = sys.argv[1:]
    all_frames = frames(mac_bytes(mac), address, int(port), base64.b64decode(key), sources)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((interface, 0))
        start = time.monotonic()
        sent = 0
        print("flooding", flush=True)
        while (passed := time.monotonic() - start) < float(seconds):
            due = int(passed * float(rate))
            while sent < due:
                try:
                    out.send(all_frames[sent % _FRAMES])
                except OSError:  # the cable is full
                    break
                sent += 1
            time.sleep(_BURST_SECONDS)
    print(f"sent {sent}", flush=True)


if __name__ == "__main__":
    main()
