"""Moves a file over TCP between two namespaces and compares checksums; stdlib on both ends."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from lab import Failed, Lab, Namespace, wait_until

_FETCH = ("import sys, urllib.request, hashlib\n"
          "digest = hashlib.sha256()\n"
          "with urllib.request.urlopen(sys.argv[1], timeout=30) as source:\n"
          "    while block := source.read(1 << 20): digest.update(block)\n"
          "print(digest.hexdigest())\n")


def make_file(directory: Path, length_bytes: int) -> str:
    """Writes `payload` with random bytes, which no fault can restore by chance; its SHA-256."""
    digest = hashlib.sha256()
    with (directory / "payload").open("wb") as out:
        while length_bytes > 0:
            block = os.urandom(min(length_bytes, 1 << 20))
            out.write(block)
            digest.update(block)
            length_bytes -= len(block)
    return digest.hexdigest()


def payload_url(address: str, port: int = 8080) -> str:
    return f"http://{f'[{address}]' if ':' in address else address}:{port}/payload"


@contextlib.contextmanager
def serve_file(lab: Lab, server: Namespace, address: str, length_bytes: int, port: int = 8080) -> Iterator[str]:
    """Serves a new file at payload_url() for as long as the context lasts; gives its checksum."""
    directory = lab.dir / f"served-by-{server.name}"
    directory.mkdir(exist_ok=True)
    expected = make_file(directory, length_bytes)
    service = server.start(f"http-{server.name}", sys.executable, "-m", "http.server", "--bind", address,
                           "--directory", str(directory), str(port))
    try:
        wait_until("http.server", lambda: f":{port} " in server.run("ss", "-Hltn").stdout)
        yield expected
    finally:
        service.stop()


def fetch(client: Namespace, url: str) -> str:
    """The checksum of what is there."""
    return client.run(sys.executable, "-c", _FETCH, url, timeout=180).stdout.strip()


def fetch_file(lab: Lab, server: Namespace, client: Namespace, address: str, length_bytes: int,
               port: int = 8080) -> str:
    """Serves a new file on `server`, fetches it from `client`; the checksum, Failed when they differ."""
    with serve_file(lab, server, address, length_bytes, port) as expected:
        fetched = fetch(client, payload_url(address, port))
    if fetched != expected:
        raise Failed(f"the file arrived with checksum {fetched}, but left with {expected}")
    return fetched
