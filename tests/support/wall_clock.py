"""Sets the wall clock of one turnpiked, and of nothing else; also while it runs."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from lab import Failed
from turnpiked import BUILD, Gateway

HOUR = 3600


class WallClock:
    """Of a gateway that has not been started yet."""

    def __init__(self, directory: Path, gateway: Gateway) -> None:
        library = BUILD / "tests/system/wall-clock.so"
        if not library.exists():
            raise Failed(f"{library} does not exist; run scripts/build")
        path = directory / "wall-clock"
        path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._offset = mmap.mmap(file.fileno(), 8)
        gateway.environment |= {"LD_PRELOAD": str(library), "TURNPIKE_TEST_CLOCK": str(path)}

    def set(self, seconds: int) -> None:
        """So far from the machine's; negative: behind."""
        self._offset[:] = struct.pack("=q", seconds)
