"""A WireGuard peer of our own in both roles, written from the paper: independent of what it is used to test.

X25519 and the AEAD are libsodium's (PyNaCl), BLAKE2s is hashlib's. Numbers in comments are sections of the paper.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import hmac
import os
import struct

with contextlib.suppress(ImportError):  # who uses us asks requirements.need_module() first
    import nacl.bindings as sodium

INITIATION, RESPONSE, COOKIE_REPLY, DATA = 1, 2, 3, 4
INITIATION_BYTES, RESPONSE_BYTES, COOKIE_REPLY_BYTES, DATA_OVERHEAD_BYTES = 148, 92, 64, 32
_CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
_IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
_TAI64_EPOCH = 0x400000000000000A
# Points of order 1, 2, 4 and 8 (u coordinates), also not reduced; libsodium's list.
LOW_ORDER = [bytes(32), b"\1" + bytes(31),
             bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
             bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
             bytes.fromhex("ec" + "ff" * 30 + "7f"), bytes.fromhex("ed" + "ff" * 30 + "7f"),
             bytes.fromhex("ee" + "ff" * 30 + "7f")]


def blake2s(*parts: bytes) -> bytes:
    return hashlib.blake2s(b"".join(parts)).digest()


def mac(key: bytes, data: bytes) -> bytes:
    return hashlib.blake2s(data, key=key, digest_size=16).digest()


def kdf(count: int, key: bytes, data: bytes) -> list[bytes]:
    """HKDF by HMAC-BLAKE2s (5.4)."""
    secret = hmac.new(key, data, hashlib.blake2s).digest()
    out, last = [], b""
    for number in range(1, count + 1):
        last = hmac.new(secret, last + bytes([number]), hashlib.blake2s).digest()
        out.append(last)
    return out


def _nonce(counter: int) -> bytes:
    return struct.pack("<IQ", 0, counter)


def seal(key: bytes, counter: int, text: bytes, associated: bytes = b"") -> bytes:
    return sodium.crypto_aead_chacha20poly1305_ietf_encrypt(text, associated, _nonce(counter), key)


def unseal(key: bytes, counter: int, sealed: bytes, associated: bytes = b"") -> bytes:
    """Raises nacl.exceptions.CryptoError when it is not authentic."""
    return sodium.crypto_aead_chacha20poly1305_ietf_decrypt(sealed, associated, _nonce(counter), key)


def tai64n(nanoseconds: int) -> bytes:
    """Of nanoseconds since 1970."""
    return struct.pack(">QI", _TAI64_EPOCH + nanoseconds // 10**9, nanoseconds % 10**9)


def public_key(private: bytes) -> bytes:
    return sodium.crypto_scalarmult_base(private)


def with_macs(message: bytes, receiver: bytes) -> bytes:
    """Adds mac1 for the owner of the public key `receiver`, and an empty mac2 (5.4.4)."""
    return message + mac(blake2s(b"mac1----", receiver), message) + bytes(16)


@dataclasses.dataclass
class Session:
    """What a handshake gave; `counter` is the next one to send with."""

    sending_key: bytes
    receiving_key: bytes
    remote_index: int
    local_index: int
    counter: int = 0

    def data(self, text: bytes, *, counter: int | None = None, key: bytes | None = None,
             index: int | None = None) -> bytes:
        """A data message (5.4.6) around `text`, which the caller pads."""
        if counter is None:
            counter = self.counter
            self.counter += 1
        head = struct.pack("<IIQ", DATA, self.remote_index if index is None else index, counter)
        return head + seal(self.sending_key if key is None else key, counter, text)

    def read(self, message: bytes) -> bytes:
        kind, index, counter = struct.unpack_from("<IIQ", message)
        assert (kind, index) == (DATA, self.local_index), f"not for this session: type {kind}, index {index:#x}"
        return unseal(self.receiving_key, counter, message[16:])


class Initiator:
    """One static key and what it knows of the responder."""

    def __init__(self, responder: str, private: bytes | None = None, preshared_key: bytes = bytes(32)) -> None:
        self.responder = base64.b64decode(responder)
        self.private = os.urandom(32) if private is None else private
        self.public = public_key(self.private)
        self.preshared_key = preshared_key
        self._ephemeral = b""
        self._chaining_key = b""
        self._hash = b""
        self._local_index = 0

    @property
    def public_base64(self) -> str:
        return base64.b64encode(self.public).decode()

    def initiation(self, timestamp: bytes, index: int, low_order: bytes | None = None) -> bytes:
        """The first message (5.4.2). With a point of low order as ephemeral, whose secrets are zero for everybody."""
        self._ephemeral = os.urandom(32)
        ephemeral = public_key(self._ephemeral) if low_order is None else low_order
        chaining = blake2s(_CONSTRUCTION)
        digest = blake2s(blake2s(chaining, _IDENTIFIER), self.responder)
        (chaining,) = kdf(1, chaining, ephemeral)
        digest = blake2s(digest, ephemeral)
        secret = bytes(32) if low_order is not None else sodium.crypto_scalarmult(self._ephemeral, self.responder)
        chaining, key = kdf(2, chaining, secret)
        static = seal(key, 0, self.public, digest)
        digest = blake2s(digest, static)
        chaining, key = kdf(2, chaining, sodium.crypto_scalarmult(self.private, self.responder))
        stamp = seal(key, 0, timestamp, digest)
        self._chaining_key, self._hash, self._local_index = chaining, blake2s(digest, stamp), index
        return with_macs(struct.pack("<II", INITIATION, index) + ephemeral + static + stamp, self.responder)

    def finish(self, response: bytes) -> Session:
        """Consumes the second message (5.4.3); raises when it does not answer our last initiation."""
        assert len(response) == RESPONSE_BYTES, len(response)
        kind, remote_index, local_index = struct.unpack_from("<III", response)
        assert (kind, local_index) == (RESPONSE, self._local_index)
        assert response[60:76] == mac(blake2s(b"mac1----", self.public), response[:60])
        ephemeral, nothing = response[12:44], response[44:60]
        (chaining,) = kdf(1, self._chaining_key, ephemeral)
        digest = blake2s(self._hash, ephemeral)
        (chaining,) = kdf(1, chaining, sodium.crypto_scalarmult(self._ephemeral, ephemeral))
        (chaining,) = kdf(1, chaining, sodium.crypto_scalarmult(self.private, ephemeral))
        chaining, into_hash, key = kdf(3, chaining, self.preshared_key)
        digest = blake2s(digest, into_hash)
        assert unseal(key, 0, nothing, digest) == b""
        sending, receiving = kdf(2, chaining, b"")
        return Session(sending, receiving, remote_index, local_index)


@dataclasses.dataclass(frozen=True)
class Heard:
    """An initiation that was read, as far as answers need it."""

    message: bytes
    sender_index: int
    static: bytes
    timestamp: bytes
    chaining_key: bytes
    digest: bytes

    @property
    def mac1(self) -> bytes:
        return self.message[116:132]


class Responder:
    """One static key that initiations are answered with, rightly or not."""

    def __init__(self, private: bytes | None = None, preshared_key: bytes = bytes(32)) -> None:
        self.private = os.urandom(32) if private is None else private
        self.public = public_key(self.private)
        self.preshared_key = preshared_key

    @property
    def public_base64(self) -> str:
        return base64.b64encode(self.public).decode()

    def read(self, message: bytes) -> Heard:
        """Consumes the first message (5.4.2); raises when it is not for us or not authentic."""
        assert len(message) == INITIATION_BYTES, len(message)
        kind, sender_index = struct.unpack_from("<II", message)
        assert kind == INITIATION
        assert message[116:132] == mac(blake2s(b"mac1----", self.public), message[:116])
        ephemeral = message[8:40]
        chaining = blake2s(_CONSTRUCTION)
        digest = blake2s(blake2s(chaining, _IDENTIFIER), self.public)
        (chaining,) = kdf(1, chaining, ephemeral)
        digest = blake2s(digest, ephemeral)
        chaining, key = kdf(2, chaining, sodium.crypto_scalarmult(self.private, ephemeral))
        static = unseal(key, 0, message[40:88], digest)
        digest = blake2s(digest, message[40:88])
        chaining, key = kdf(2, chaining, sodium.crypto_scalarmult(self.private, static))
        timestamp = unseal(key, 0, message[88:116], digest)
        return Heard(message, sender_index, static, timestamp, chaining, blake2s(digest, message[88:116]))

    def response(self, heard: Heard, index: int, *, receiver_index: int | None = None,
                 preshared_key: bytes | None = None, low_order: bytes | None = None) -> tuple[bytes, Session]:
        """The second message (5.4.3). With a point of low order as ephemeral, whose secrets are zero for everybody."""
        private = os.urandom(32)
        ephemeral = public_key(private) if low_order is None else low_order

        def shared(theirs: bytes) -> bytes:
            return bytes(32) if low_order is not None else sodium.crypto_scalarmult(private, theirs)

        (chaining,) = kdf(1, heard.chaining_key, ephemeral)
        digest = blake2s(heard.digest, ephemeral)
        (chaining,) = kdf(1, chaining, shared(heard.message[8:40]))
        (chaining,) = kdf(1, chaining, shared(heard.static))
        chaining, into_hash, key = kdf(3, chaining, self.preshared_key if preshared_key is None else preshared_key)
        digest = blake2s(digest, into_hash)
        receiving, sending = kdf(2, chaining, b"")
        to = heard.sender_index if receiver_index is None else receiver_index
        message = struct.pack("<III", RESPONSE, index, to) + ephemeral + seal(key, 0, b"", digest)
        return with_macs(message, heard.static), Session(sending, receiving, heard.sender_index, index)

    def cookie_reply(self, heard: Heard, cookie: bytes, *, mac1: bytes | None = None,
                     receiver_index: int | None = None) -> bytes:
        """A cookie for the sender of the initiation, or (`mac1`) of another message (5.4.7)."""
        nonce = os.urandom(24)
        key = blake2s(b"cookie--", self.public)
        sealed = sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
            cookie, heard.mac1 if mac1 is None else mac1, nonce, key)
        to = heard.sender_index if receiver_index is None else receiver_index
        return struct.pack("<II", COOKIE_REPLY, to) + nonce + sealed
