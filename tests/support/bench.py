"""Builds and runs benchmarks by name, gathers their figures, draws them.

Called by scripts/bench, which has installed the packages. A benchmark NAME is tests/bench/NAME_bench.cpp (the
program bench-NAME) or tests/bench/NAME_bench.py; both take --quick, --json FILE and --filter TEXT.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import plots

ROOT = Path(__file__).resolve().parents[2]
# Programs that start the daemon.
WITH_DAEMON = ("control",)
NAMES = ("lookup", "pipeline", "loopback", "handshake", "control", "compare")
# Programs of tests/bench that a benchmark in Python runs.
USED_BY = {"loopback": ("tests/bench/bench-loopback-generator", "tests/bench/bench-loopback-spread",
                        "tests/bench/bench-pipeline")}

Arguments = argparse.Namespace
Figure = plots.Figure


class Unusable(Exception):
    """A benchmark that did not run or did not say what it promised, in one sentence."""


def say(text: str = "") -> None:
    print(text, flush=True)


def source_of(name: str) -> Path | None:
    """The file that makes the benchmark, None when there is none yet."""
    for suffix in (".cpp", ".py"):
        path = ROOT / "tests/bench" / f"{name}_bench{suffix}"
        if path.exists():
            return path
    return None


def existing() -> list[str]:
    return [name for name in NAMES if source_of(name) is not None]


def command_of(name: str, directory: Path) -> list[str]:
    source = source_of(name)
    assert source is not None
    if source.suffix == ".py":
        return [sys.executable, str(source)]
    return [str(directory / "tests/bench" / f"bench-{name}")]


def build(names: list[str]) -> bool:
    """Only the programs that run; one in Python needs the daemon and the command line."""
    targets: list[str] = []
    for name in names:
        source = source_of(name)
        assert source is not None
        targets += (["control/daemon/turnpiked", "control/cli/turnpike", *USED_BY.get(name, ())] if source.suffix == ".py"
                    else [f"tests/bench/bench-{name}"])
        if name in WITH_DAEMON:
            targets.append("control/daemon/turnpiked")
    command = [str(ROOT / "scripts/build"), "--no-install", *dict.fromkeys(targets)]
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode == 0


def read_figures(path: Path) -> list[Figure]:
    """The figures of one run; Unusable when they break the contract."""
    try:
        figures = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Unusable(f"its figures cannot be read: {error}") from None
    if not isinstance(figures, list) or not figures:
        raise Unusable("it gave no figures")
    for figure in figures:
        missing = {"name", "value", "unit", "baseline", "ratio", "runs"} - set(figure)
        if missing:
            raise Unusable(f"a figure lacks {', '.join(sorted(missing))}: {figure}")
        if (figure["baseline"] is None) != (figure["ratio"] is None):
            raise Unusable(f"{figure['name']} has a ratio without a baseline, or a baseline without a ratio")
    return figures


def run_one(name: str, arguments: Arguments, directory: Path) -> list[Figure]:
    """Its output goes to the terminal as it comes."""
    with tempfile.TemporaryDirectory(prefix="turnpike-bench-") as scratch:
        path = Path(scratch) / "figures.json"
        command = [*command_of(name, directory), "--json", str(path)]
        if arguments.quick:
            command.append("--quick")
        if arguments.filter:
            command += ["--filter", arguments.filter]
        environment = dict(os.environ, TURNPIKE_BUILD_DIR=str(directory))
        try:
            code = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, env=environment, check=False).returncode
        except OSError as error:
            raise Unusable(f"{command[0]} cannot be run ({error.strerror}); run scripts/bench without --no-build") from None
        if code != 0:
            raise Unusable(f"it ended with {code}")
        if arguments.filter and path.exists() and path.read_text().split() == ["[", "]"]:
            return []
        return read_figures(path)


def spread(runs: list[float]) -> str:
    """The middle half of the runs, as a share of their median."""
    if len(runs) < 4:
        return ""
    ordered = sorted(runs)
    low, middle, high = (ordered[round(share * (len(ordered) - 1))] for share in (0.25, 0.5, 0.75))
    return f"{100 * (high - low) / middle:.0f} %" if middle else ""


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def table(figures: list[Figure]) -> list[str]:
    rows = [("figure", "value", "unit", "spread", "baseline", "", "ratio")]
    for f in figures:
        baseline = f["baseline"]
        rows.append((f["name"], number(f["value"]), f["unit"], spread(f["runs"]),
                     number(baseline["value"]) if baseline else "", baseline["name"] if baseline else "",
                     f"{f['ratio']:.3f}" if baseline else ""))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    right = (1, 3, 4, 6)
    return ["  ".join(cell.rjust(w) if i in right else cell.ljust(w)
                      for i, (cell, w) in enumerate(zip(row, widths))).rstrip() for row in rows]


def first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.splitlines()[0] if done.returncode == 0 and done.stdout else ""


def machine() -> str:
    """What figures of this run may be compared with: only those of the same line."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    try:
        governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        governor = "unknown"
    commit = first_line(["git", "rev-parse", "--short", "HEAD"]) or "unknown"
    if first_line(["git", "status", "--porcelain", "--untracked-files=no"]):
        commit += " with changes"
    return (f"{model}, {len(os.sched_getaffinity(0))} CPUs, governor {governor}, load {os.getloadavg()[0]:.1f}, "
            f"{first_line(['c++', '--version']) or 'compiler unknown'}, commit {commit}")


def parse(argv: list[str]) -> Arguments:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Runs the benchmarks: " + " ".join(NAMES) + "; without a name, all there are.",
        epilog="Ratios are against a baseline of the same run, interleaved; spread is the middle half of the runs.")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="tiny inputs: shows that it runs, the figures mean nothing")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures as one JSON list")
    parser.add_argument("--plots", metavar="DIR", type=Path, help="draw the figures as SVG")
    parser.add_argument("--filter", metavar="TEXT", default="", help="only figures whose name contains it")
    parser.add_argument("--no-build", action="store_true", help="run what is built")
    parser.add_argument("--no-install", action="store_true", help="do not look for missing packages")
    parser.add_argument("--build-dir", metavar="DIR", type=Path, help="with --no-build: where (default: build/)")
    parser.add_argument("--list", action="store_true", help="only say which benchmarks there are")
    arguments = parser.parse_args(argv)
    for name in arguments.names:
        if name not in NAMES:
            parser.error(f"there is no benchmark '{name}'; there are: {' '.join(existing())}")
        if source_of(name) is None:
            parser.error(f"the benchmark '{name}' does not exist yet; there are: {' '.join(existing())}")
    arguments.names = list(dict.fromkeys(arguments.names)) or existing()
    # Found out now and not after an hour of measuring.
    if arguments.json and not arguments.json.resolve().parent.is_dir():
        parser.error(f"--json: there is no directory {arguments.json.resolve().parent}")
    if arguments.plots:
        arguments.plots.mkdir(parents=True, exist_ok=True)
    return arguments


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    if arguments.list:
        for name in NAMES:
            source = source_of(name)
            say(f"{name:10} {source.relative_to(ROOT) if source else 'does not exist yet'}")
        return 0
    if not arguments.no_build and not build(arguments.names):
        say("scripts/bench: the build failed (above)")
        return 1
    directory = (arguments.build_dir or ROOT / "build").resolve()
    where = machine()
    say(where)
    if arguments.quick:
        say("--quick: tiny inputs; the figures say only that the benchmarks run")
    figures: list[Figure] = []
    failed = []
    for count, name in enumerate(arguments.names, 1):
        say(f"\n== {name} ({count} of {len(arguments.names)})")
        start = time.monotonic()
        try:
            figures += run_one(name, arguments, directory)
        except Unusable as error:
            failed.append(f"{name}: {error}")
            say(f"scripts/bench: {failed[-1]}")
        say(f"== {name}: {time.monotonic() - start:.0f} s")
    say()
    for line in table(figures):
        say(line)
    if arguments.json:
        arguments.json.write_text("[\n" + ",\n".join("  " + json.dumps(f) for f in figures) + "\n]\n")
        say(f"written: {arguments.json}")
    if arguments.plots:
        drawn = plots.write(figures, arguments.plots, where + (" (--quick)" if arguments.quick else ""))
        for path in drawn:
            say(f"drawn: {path}")
        if not drawn:
            say("nothing drawn: a curve needs figures of two sizes, which these are not")
    for line in failed:
        say(f"failed: {line}")
    if not figures and not failed:
        say(f"scripts/bench: no figure's name contains '{arguments.filter}'")
        return 2
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(130)
