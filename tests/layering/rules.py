"""Which folder may include which: the table behind the arrows of ARCHITECTURE.md.

    base <- crypto <- wireguard <- lookup <- publish <- pipeline <- io
    control -> dataplane, control -> config, config -> base
"""

from __future__ import annotations

CHAIN = ["base", "crypto", "wireguard", "lookup", "publish", "pipeline", "io"]
_DATAPLANE = [f"dataplane/{name}" for name in CHAIN]
_UP_TO_PUBLISH = set(_DATAPLANE[:5])   # the one door to the workers and what lies below it
_PURE_DATAPLANE = set(_DATAPLANE[:6])  # all but io: values and bytes, no DPDK

# folder -> folders that it may include, itself aside. A folder that is not named here may not exist.
ALLOWED: dict[str, set[str]] = {
    **{folder: set(_DATAPLANE[:rank]) for rank, folder in enumerate(_DATAPLANE)},
    "config": {"dataplane/base"},
    # State and transactions are pure: values in, values out.
    "control/state": {"dataplane/base"},
    "control/store": {"dataplane/base", "config", "control/state"},
    # The session thread speaks the protocol and knows headers (ARP, ND, ICMP), but starts no port.
    "control/session": _PURE_DATAPLANE,
    # Turns changes of the state into snapshots.
    "control/gateway": _UP_TO_PUBLISH | {"config", "control/state", "control/store", "control/session"},
    "control/api": _UP_TO_PUBLISH
    | {"config", "control/state", "control/store", "control/session", "control/gateway"},
    # The command line talks to the daemon over its socket; it checks files by itself.
    "control/cli": {"dataplane/base", "dataplane/crypto", "config", "control/state", "control/api"},
    # Start-up and shutdown: the only caller of io.
    "control/daemon": set(_DATAPLANE)
    | {"config", "control/state", "control/store", "control/session", "control/gateway", "control/api"},
}

TOP_FOLDERS = ("dataplane", "config", "control", "tests")

# Headers of a library that only some folders may see: header prefix -> folders.
PRIVATE_HEADERS: dict[str, tuple[str, ...]] = {
    "rte_": ("dataplane/io", "tests/unit/io", "tests/bench", "tests/system"),
}

# Folders that get time as an argument, so that tests and simulations own the clock.
CLOCKLESS = ("dataplane/wireguard", "dataplane/lookup", "dataplane/publish", "control/state")

MAX_LINES = 600
