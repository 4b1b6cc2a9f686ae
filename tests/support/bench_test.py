#!/usr/bin/env python3
"""scripts/bench: what it refuses, what it takes from a benchmark, what it draws."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from unittest import mock

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "bench")]
import bench
import loopback_bench
import plots
import svg


def figure(name: str, value: float, rival: str = "", rival_value: float = 1.0, runs: int = 5) -> bench.Figure:
    baseline = {"name": rival, "value": rival_value} if rival else None
    return {"name": name, "value": value, "unit": "M/s", "baseline": baseline,
            "ratio": value / rival_value if rival else None, "runs": [value] * runs}


# A benchmark that gives the figures of its third argument; command_of() is replaced by it.
_SCRIPT = "import sys; open(sys.argv[sys.argv.index('--json') + 1], 'w').write(sys.argv[1]); sys.exit(int(sys.argv[2]))"


class Runs(unittest.TestCase):
    def run_with(self, outputs: dict[str, tuple[str, int]], *words: str) -> tuple[int, str]:
        def command(name: str, _directory: Path) -> list[str]:
            text, code = outputs[name]
            return [sys.executable, "-c", _SCRIPT, text, str(code)]

        out = io.StringIO()
        with mock.patch("bench.command_of", command), contextlib.redirect_stdout(out):
            code = bench.main([*outputs, "--no-build", "--quick", *words])
        return code, out.getvalue()

    def test_figures_of_several_benchmarks_end_in_one_file(self) -> None:
        one, two = figure("lookup/a", 2.0, "rte_fib", 4.0), figure("pipeline/b", 3.0)
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "all.json"
            code, out = self.run_with({"lookup": (json.dumps([one]), 0), "pipeline": (json.dumps([two]), 0)},
                                      "--json", str(path))
            self.assertEqual(code, 0, out)
            self.assertEqual(json.loads(path.read_text()), [one, two])
        self.assertRegex(out, r"lookup/a +2 +M/s +0 % +4 +rte_fib +0\.500")

    def test_one_that_fails_does_not_take_the_others_along(self) -> None:
        good = json.dumps([figure("pipeline/b", 3.0)])
        for bad in ((good, 3), ("[", 0), ("[]", 0), ('[{"name": "x"}]', 0)):
            with self.subTest(bad=bad):
                code, out = self.run_with({"lookup": bad, "pipeline": (good, 0)})
                self.assertEqual(code, 1)
                self.assertIn("failed: lookup: ", out)
                self.assertRegex(out, r"pipeline/b +3")

    def test_a_name_that_is_none_is_a_usage_error(self) -> None:
        for name, source in (("nonsense", Path("x")), ("compare", None)):
            err = io.StringIO()
            with self.subTest(name=name), mock.patch("bench.source_of", lambda _, s=source: s), \
                    contextlib.redirect_stderr(err), self.assertRaises(SystemExit) as exit_:
                bench.main([name])
            self.assertEqual(exit_.exception.code, 2)
            self.assertIn(f"'{name}'", err.getvalue())

    def test_spread_is_the_middle_half(self) -> None:
        self.assertEqual(bench.spread([10, 9, 11, 8, 1000]), "20 %")
        self.assertEqual(bench.spread([1.0]), "")


class Charts(unittest.TestCase):
    def shapes(self, text: str, kind: str) -> list[ElementTree.Element]:
        return ElementTree.fromstring(text).findall(f"{{http://www.w3.org/2000/svg}}{kind}")

    def test_sizes_become_an_axis_and_rivals_curves(self) -> None:
        figures = [figure(f"lookup/ipv4/{n}/zipf", 100.0 / i, rival, 50.0 * i)
                   for i, n in enumerate((1000, 100000, 1000000), 1) for rival in ("rte_fib", "rte_lpm")]
        charts = plots.line_charts(figures, "here")
        self.assertEqual(sorted(charts), ["lookup-ipv4-size-zipf-M-s-ratio.svg", "lookup-ipv4-size-zipf-M-s.svg"])
        values = charts["lookup-ipv4-size-zipf-M-s.svg"]
        self.assertEqual(len(self.shapes(values, "polyline")), 3)
        self.assertEqual(len(self.shapes(values, "circle")), 9)
        texts = [t.text for t in self.shapes(values, "text")]
        for wanted in ("Turnpike", "rte_fib", "rte_lpm", "1M", "M/s", "prefixes in the table (logarithmic)", "here"):
            self.assertIn(wanted, texts)

    def test_packet_sizes_and_peers_are_axes_of_their_own(self) -> None:
        figures = [figure(f"pipeline/outbound/{size}/{peers}", 1.0) for size in (64, 1420)
                   for peers in ("1-peer", "1000-peers")]
        self.assertEqual(sorted(plots.line_charts(figures, "")), [
            "pipeline-outbound-1420-peers-M-s.svg", "pipeline-outbound-64-peers-M-s.svg",
            "pipeline-outbound-size-1-peer-M-s.svg", "pipeline-outbound-size-1000-peers-M-s.svg"])

    def test_seconds_are_a_linear_axis_from_zero(self) -> None:
        figures = [figure(f"handshake/storm/9-peers/{n}-seconds", 3.0 * n) for n in (1, 2, 3)]
        text = plots.line_charts(figures, "")["handshake-storm-9-peers-seconds-M-s.svg"]
        first, second, third = (float(c.get("cx", "")) for c in self.shapes(text, "circle"))
        self.assertAlmostEqual(third - second, second - first, delta=0.2)
        texts = [t.text for t in self.shapes(text, "text")]
        self.assertIn("seconds", texts)
        self.assertIn("0", texts)

    def test_a_point_is_no_curve(self) -> None:
        self.assertEqual(plots.line_charts([figure("lookup/ipv4/1000/zipf", 1.0, "rte_fib")], ""), {})

    def test_stages_are_stacked(self) -> None:
        figures = [figure("pipeline/outbound/64/1-peer/stage/parse", 30.0),
                   figure("pipeline/outbound/64/1-peer/stage/<seal>", 70.0)]
        text = plots.stage_chart(figures, "")["stages.svg"]
        self.assertIn("100", [t.text for t in self.shapes(text, "text")])
        self.assertIn("<seal>", [t.text for t in self.shapes(text, "text")])

    def test_a_rival_that_is_the_same_case_of_another_area_is_one_curve(self) -> None:
        figures = [figure(f"loopback/outbound/{size}/1-peer", 1.0, f"pipeline/outbound/{size}/1-peer") for size in (64, 1420)]
        text = plots.line_charts(figures, "")["loopback-outbound-size-1-peer-M-s.svg"]
        self.assertIn("pipeline", [t.text for t in self.shapes(text, "text")])
        self.assertEqual(len(self.shapes(text, "polyline")), 2)

    def test_latency_is_one_chart_for_each_case_with_a_curve_for_each_percentile(self) -> None:
        figures = [figure(f"loopback/outbound/64/1-peer/latency-{p}/{share}-percent", us)
                   for share in (90, 10, 50) for p, us in (("p50", 2.0), ("p999", 20.0))]
        self.assertEqual(plots.line_charts(figures, ""), {})
        charts = plots.latency_charts(figures, "")
        self.assertEqual(list(charts), ["loopback-outbound-64-1-peer-latency.svg"])
        text = charts["loopback-outbound-64-1-peer-latency.svg"]
        self.assertLessEqual({"p50", "p99.9"}, {t.text for t in self.shapes(text, "text")})
        self.assertEqual(len(self.shapes(text, "polyline")), 2)
        self.assertEqual(len(self.shapes(text, "circle")), 6)

    def test_scaling_and_spreading_are_bars_beside_what_they_are_measured_against(self) -> None:
        figures = [figure("pipeline/two-workers/outbound/64/1000-peers", 1.97, "aead"),
                   figure("loopback/spread/taken", 16.0)]
        self.assertEqual(plots.line_charts(figures, ""), {})
        charts = plots.bar_charts(figures, "")
        self.assertEqual(sorted(charts), ["spread.svg", "two-workers.svg"])
        self.assertLessEqual({"outbound/64/1000-peers", "outbound/64/1000-peers: aead", "1.97"},
                             {t.text for t in self.shapes(charts["two-workers.svg"], "text")})

    def test_ticks_are_round_and_reach_the_top(self) -> None:
        self.assertEqual(svg.ticks(10), [0, 2, 4, 6, 8, 10])
        for top in (0.013, 1, 99, 101, 123456):
            self.assertGreaterEqual(svg.ticks(top)[-1], top)
            self.assertLessEqual(len(svg.ticks(top)), 7)


class LoopbackDistance(unittest.TestCase):
    """Rounds between CPUs that are near each other and far ones are not mixed in one figure."""

    def parted(self, *lines: float) -> tuple[list[float], list[float]]:
        distance = loopback_bench.Distance()
        for line in lines:
            distance.saw(line)
        rounds = [loopback_bench.Round(mpps=1, pipeline_mpps=2, cycles=3, ring_full=4, line=line) for line in lines]
        near, far = distance.parted(rounds)
        return [r.line for r in near], [r.line for r in far]

    def test_what_takes_twice_the_shortest_is_near_and_what_takes_more_is_far(self) -> None:
        self.assertEqual(self.parted(840, 210, 420, 421), ([210, 420], [840, 421]))

    def test_where_all_are_alike_none_is_far(self) -> None:
        self.assertEqual(self.parted(840, 820, 860), ([840, 820, 860], []))


if __name__ == "__main__":
    unittest.main(verbosity=2)
