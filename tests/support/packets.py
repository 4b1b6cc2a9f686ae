"""Frames as bytes, right or wrong on purpose, and raw sockets in the namespaces of a Lab.

Every field that a header derives from the rest (lengths, checksums, versions) can be given instead, so that a test
can lie in exactly one of them.
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
import struct

from lab import Namespace

ETH_IPV4, ETH_ARP, ETH_VLAN, ETH_IPV6, ETH_QINQ = 0x0800, 0x0806, 0x8100, 0x86DD, 0x88A8
ICMP, TCP, UDP, FRAGMENT, ICMPV6 = 1, 6, 17, 44, 58
BROADCAST = b"\xff" * 6

_ETH_P_ALL = 3  # linux/if_ether.h
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_PACKET_OUTGOING = 4  # linux/if_packet.h
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27  # asm-generic/socket.h
_LIBC = ctypes.CDLL(None, use_errno=True)


def address_bytes(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def mac_bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def checksum(data: bytes) -> int:
    """RFC 1071, as it is written into a header."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(destination: bytes, source: bytes, ether_type: int, payload: bytes) -> bytes:
    return destination + source + struct.pack(">H", ether_type) + payload


def ipv4(source: str, destination: str, protocol: int, payload: bytes, *, version: int = 4, words: int | None = None,
         total: int | None = None, ttl: int = 64, tos: int = 0, fragment: int = 0, header_sum: int | None = None,
         options: bytes = b"") -> bytes:
    """`words` is the header's length in its own unit, `fragment` its flags and offset."""
    size = 5 + len(options) // 4
    first = version << 4 | (size if words is None else words)
    length = 4 * size + len(payload) if total is None else total

    def header(filled: int) -> bytes:
        return struct.pack(">BBHHHBBH4s4s", first, tos, length, 0, fragment, ttl, protocol, filled,
                           address_bytes(source), address_bytes(destination)) + options

    return header(checksum(header(0)) if header_sum is None else header_sum) + payload


def ipv6(source: str, destination: str, protocol: int, payload: bytes, *, version: int = 6, length: int | None = None,
         hop_limit: int = 64) -> bytes:
    return struct.pack(">IHBB16s16s", version << 28, len(payload) if length is None else length, protocol, hop_limit,
                       address_bytes(source), address_bytes(destination)) + payload


def _transport_sum(source: str, destination: str, protocol: int, data: bytes) -> int:
    addresses = address_bytes(source) + address_bytes(destination)
    return checksum(addresses + struct.pack(">HH", protocol, len(data)) + data)


def udp(source: str, destination: str, source_port: int, destination_port: int, payload: bytes, *,
        length: int | None = None, sum_: int | None = None) -> bytes:
    """The addresses are those of the packet around it; with `length`, the sum still holds for what is sent."""
    size = 8 + len(payload) if length is None else length
    head = struct.pack(">HHHH", source_port, destination_port, size, 0)
    if sum_ is None:
        sum_ = _transport_sum(source, destination, UDP, head + payload) or 0xFFFF
    return head[:6] + struct.pack(">H", sum_) + payload


def ip_udp(source: str, destination: str, source_port: int, destination_port: int, payload: bytes,
           **fields: int) -> bytes:
    """A whole packet of either family; `fields` go to its IP header."""
    datagram = udp(source, destination, source_port, destination_port, payload)
    return (ipv6 if ":" in source else ipv4)(source, destination, UDP, datagram, **fields)  # type: ignore[arg-type]


def after_hop(packet: bytes) -> bytes:
    """An IPv4 packet without options as the next router has it: one less TTL."""
    head = packet[:8] + bytes((packet[8] - 1,)) + packet[9:10] + b"\0\0" + packet[12:20]
    return head[:10] + struct.pack(">H", checksum(head)) + packet[12:]


def icmp(kind: int, code: int, body: bytes, *, sum_: int | None = None) -> bytes:
    head = struct.pack(">BBH", kind, code, 0)
    return head[:2] + struct.pack(">H", checksum(head + body) if sum_ is None else sum_) + body


def icmpv6(source: str, destination: str, kind: int, code: int, body: bytes, *, sum_: int | None = None) -> bytes:
    head = struct.pack(">BBH", kind, code, 0)
    if sum_ is None:
        sum_ = _transport_sum(source, destination, ICMPV6, head + body)
    return head[:2] + struct.pack(">H", sum_) + body


def neighbour_message(kind: int, source: str, destination: str, target: str, *, flags: int = 0, options: bytes = b"",
                      hop_limit: int = 255, **sum_: int) -> bytes:
    """The IPv6 packet of a solicitation (135) or an advertisement (136)."""
    body = struct.pack(">I", flags << 24) + address_bytes(target) + options
    return ipv6(source, destination, ICMPV6, icmpv6(source, destination, kind, 0, body, **sum_), hop_limit=hop_limit)


def arp(operation: int, sender_mac: bytes, sender: str, target_mac: bytes, target: str, *, hardware: int = 1,
        protocol: int = ETH_IPV4, sizes: tuple[int, int] = (6, 4)) -> bytes:
    return struct.pack(">HHBBH6s4s6s4s", hardware, protocol, *sizes, operation, sender_mac, address_bytes(sender),
                       target_mac, address_bytes(target))


def socket_in(space: Namespace, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket that belongs to the namespace for ever, made from outside of it."""
    ours = os.open("/proc/self/ns/net", os.O_RDONLY)
    theirs = os.open(f"/run/netns/{space.full_name}", os.O_RDONLY)
    try:
        if _LIBC.setns(theirs, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns to {space.full_name}")
        try:
            return socket.socket(family, kind, protocol)
        finally:
            if _LIBC.setns(ours, _CLONE_NEWNET) != 0:
                os.abort()  # nothing of this process would be where it believes to be
    finally:
        os.close(ours)
        os.close(theirs)


class RawPort:
    """Sends whole frames out of one interface and sees all that come in."""

    def __init__(self, space: Namespace, interface: str) -> None:
        self._socket = socket_in(space, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self._socket.bind((interface, _ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.mac: bytes = self._socket.getsockname()[4]

    def send(self, frame: bytes) -> None:
        self._socket.send(frame)

    def receive(self, seconds: float) -> bytes | None:
        """The next frame that somebody else sent, or None when none comes in time."""
        self._socket.settimeout(seconds)
        try:
            while True:
                frame, origin = self._socket.recvfrom(65536)
                if origin[2] != _PACKET_OUTGOING:
                    return frame
        except (TimeoutError, BlockingIOError):
            return None

    def keep_only(self, ether_type: int | None) -> None:
        """Leaves frames of other types out before they take room in the socket; None: no more."""
        if ether_type is None:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        else:
            self._filter(0x28, 12, ether_type)  # load the half word at 12

    def keep_length(self, length: int) -> None:
        """Leaves frames of other lengths out."""
        self._filter(0x80, 0, length)  # load the length

    def _filter(self, load: int, offset: int, wanted: int) -> None:
        # Equal: keep all, else: nothing (classic BPF, linux/filter.h).
        program = b"".join(struct.pack("HBBI", *step) for step in (
            (load, 0, 0, offset), (0x15, 0, 1, wanted), (0x06, 0, 0, 0x40000), (0x06, 0, 0, 0)))
        steps = ctypes.create_string_buffer(program, len(program))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER,
                                struct.pack("HL", len(program) // 8, ctypes.addressof(steps)))

    def close(self) -> None:
        self._socket.close()
