"""Moves a file over TCP between two namespaces and compares checksums; stdlib on both ends."""

from __future__ import annotations

import hashlib
import os
import sys
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


def fetch_file(lab: Lab, server: Namespace, client: Namespace, address: str, length_bytes: int,
               port: int = 8080) -> str:
    """Serves a new file on `server`, fetches it from `client`; the checksum, Failed when they differ."""
    directory = lab.dir / f"served-by-{server.name}"
    directory.mkdir(exist_ok=True)
    expected = make_file(directory, length_bytes)
    service = server.start(f"http-{server.name}", sys.executable, "-m", "http.server", "--bind", address,
                           "--directory", str(directory), str(port))
    try:
        wait_until("http.server", lambda: f":{port} " in server.run("ss", "-Hltn").stdout)
        host = f"[{address}]" if ":" in address else address
        fetched = client.run(sys.executable, "-c", _FETCH, f"http://{host}:{port}/payload", timeout=180).stdout.strip()
    finally:
        service.stop()
    if fetched != expected:
        raise Failed(f"the file arrived with checksum {fetched}, but left with {expected}")
    return fetched
