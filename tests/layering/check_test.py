#!/usr/bin/env python3
"""The layering check finds what it is there to find: small trees with one fault each."""

from __future__ import annotations

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import check


class Layering(unittest.TestCase):
    def faults(self, files: dict[str, str]) -> list[str]:
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            for path, text in files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text)
            return check.check(root)

    def assert_one(self, files: dict[str, str], words: str) -> None:
        faults = self.faults(files)
        self.assertEqual(len(faults), 1, faults)
        self.assertIn(words, faults[0])

    def test_arrows_to_the_left_are_allowed(self) -> None:
        self.assertEqual(self.faults({
            "dataplane/io/port.cpp": '#include <rte_ethdev.h>\n#include "dataplane/base/time.h"\n',
            "dataplane/pipeline/a.cpp": '#include "dataplane/publish/slot.h"\n',
            "config/load.cpp": '#include "dataplane/base/text.h"\n#include <vector>\n',
            "control/daemon/main.cpp": '#include "dataplane/io/eal.h"\n',
            "tests/unit/io/meson.build": "'port_test.cpp'\n",
            "tests/unit/io/port_test.cpp": '#include <rte_ring.h>\n',
        }), [])

    def test_an_arrow_to_the_right_is_a_fault(self) -> None:
        self.assert_one({"dataplane/crypto/a.h": '#pragma once\n#include "dataplane/wireguard/noise.h"\n'},
                        "dataplane/crypto/a.h:2: dataplane/crypto may not include dataplane/wireguard")

    def test_an_arrow_hidden_in_a_relative_path_is_a_fault(self) -> None:
        self.assert_one({"dataplane/crypto/a.h": '#include "../wireguard/noise.h"\n',
                         "dataplane/wireguard/noise.h": ""}, "from the root")

    def test_dpdk_outside_of_io_is_a_fault(self) -> None:
        self.assert_one({"dataplane/pipeline/a.cpp": "#  include <rte_mbuf.h>\n"}, "dataplane/io")
        self.assert_one({"control/daemon/a.cpp": "#include <rte_eal.h>\n"}, "dataplane/io")

    def test_control_reaches_workers_through_publish_alone(self) -> None:
        self.assert_one({"control/gateway/a.cpp": '#include "dataplane/pipeline/outbound.h"\n'},
                        "control/gateway may not include dataplane/pipeline")
        self.assert_one({"control/api/a.cpp": '#include "dataplane/io/port.h"\n'},
                        "control/api may not include dataplane/io")

    def test_state_is_pure_and_config_knows_base_only(self) -> None:
        self.assert_one({"control/state/a.cpp": '#include "control/store/db.h"\n'}, "control/state")
        self.assert_one({"config/a.cpp": '#include "control/state/state.h"\n'}, "config may not include")

    def test_the_data_plane_knows_no_control(self) -> None:
        self.assert_one({"dataplane/io/a.cpp": '#include "control/api/x.h"\n'}, "dataplane/io may not")

    def test_products_do_not_include_tests(self) -> None:
        self.assert_one({"dataplane/base/a.cpp": '#include "tests/support/x.h"\n'}, "may not include tests")

    def test_a_folder_that_the_table_does_not_know_is_a_fault(self) -> None:
        self.assert_one({"control/extra/a.cpp": '#include "dataplane/base/time.h"\n'}, "rules.py")

    def test_a_clock_in_the_protocol_is_a_fault(self) -> None:
        self.assert_one({"dataplane/wireguard/a.cpp": "auto t = std::chrono::steady_clock::now();\n"}, "clock")

    def test_undone_work_and_machine_paths_are_faults(self) -> None:
        self.assert_one({"dataplane/base/a.h": "// TO" "DO: later\n"}, "do it")
        self.assert_one({"scripts/x.py": "x = '/ho" "me/me/x'\n"}, "a path of one machine")

    def test_a_file_that_is_too_long_is_a_fault(self) -> None:
        self.assert_one({"dataplane/base/a.h": "\n" * 601}, "above 600")
        self.assertEqual(self.faults({"dataplane/base/a.h": "\n" * 600}), [])

    def test_a_test_that_no_build_file_names_is_a_fault(self) -> None:
        self.assert_one({"tests/unit/base/meson.build": "'other_test.cpp'",
                         "tests/unit/base/text_test.cpp": ""}, "never runs")


if __name__ == "__main__":
    unittest.main()
