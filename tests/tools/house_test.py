#!/usr/bin/env python3
"""Shows that each check of the house can fail: every rule gets a small tree with one violation of it."""

import tempfile
import unittest
from pathlib import Path
from unittest import mock

import check_docs
import check_includes
import check_simd_symbols
import check_sizes
import tidy_changed


def run(tool, files):
    """(number of files, violations) of a tree of {path: content}."""
    with tempfile.TemporaryDirectory() as folder:
        for path, content in files.items():
            file = Path(folder) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
        return tool.check(Path(folder))


class IncludeRule(unittest.TestCase):
    HEADERS = {path: "// A header.\n" for path in (
        "kernels/conv.h", "kernels/device.h", "kernels/cpu/device.h", "kernels/cpu/simd.h",
        "kernels/cpu/simd/vec.h", "core/tensor.h", "core/io/sha256.h", "core/data/dataset.h",
        "comm/exchange.h", "comm/mpi/request.h", "trainers/loop.h", "jobs/cli/main.h",
        "tests/support/tree.h")}

    def violation(self, path, include, message):
        """The tree is clean without the include and the message comes with it."""
        clean = run(check_includes, self.HEADERS | {path: "// A file.\n"})
        self.assertEqual(clean, (len(self.HEADERS) + 1, []))
        _, problems = run(check_includes, self.HEADERS | {path: f"// A file.\n#include {include}\n"})
        self.assertEqual(problems, [f"{path}:2: {message}"])

    def allowed(self, path, *includes):
        content = "".join(f"#include {include}\n" for include in includes)
        self.assertEqual(run(check_includes, self.HEADERS | {path: content})[1], [])

    def test_layers_point_left_only(self):
        self.violation("kernels/conv.cpp", '"core/tensor.h"', "kernels must not see core (core/tensor.h)")
        self.violation("core/tensor.cpp", '"comm/exchange.h"', "core must not see comm (comm/exchange.h)")
        self.violation("core/tensor.cpp", '"core/io/sha256.h"',
                       "core must not see core/io (core/io/sha256.h)")
        self.violation("core/io/a.cpp", '"core/tensor.h"', "core/io must not see core (core/tensor.h)")
        self.violation("comm/exchange.cpp", '"trainers/loop.h"',
                       "comm must not see trainers (trainers/loop.h)")
        self.violation("comm/exchange.cpp", '"core/data/dataset.h"',
                       "comm must not see core/data (core/data/dataset.h)")
        self.violation("trainers/models/lenet.cpp", '"jobs/cli/main.h"',
                       "trainers must not see jobs (jobs/cli/main.h)")

    def test_trainers_and_jobs_see_no_kernels(self):
        for path, layer in (("trainers/loop.cpp", "trainers"), ("jobs/cli/main.cpp", "jobs")):
            self.violation(path, '"kernels/conv.h"',
                           f"{layer} must not see kernels/conv.h: of kernels only "
                           "kernels/activation.h, kernels/device.h, kernels/dtype.h, kernels/error.h, "
                           "kernels/log.h, kernels/parted_device.h, kernels/philox.h, kernels/progress.h, "
                           "kernels/shape.h, kernels/shared_blocks.h")

    def test_backends_are_private(self):
        self.violation("core/tensor.cpp", '"kernels/cpu/device.h"',
                       "kernels/cpu/device.h is private to kernels/cpu")
        self.violation("trainers/loop.cpp", '"comm/mpi/request.h"',
                       "comm/mpi/request.h is private to comm/mpi")

    def test_nobody_sees_tests(self):
        self.violation("core/tensor.cpp", '"tests/support/tree.h"',
                       "nobody outside tests/ includes tests/ (tests/support/tree.h)")

    def test_includes_are_named_from_the_root(self):
        self.violation("core/tensor.cpp", '"tensor.h"',
                       '"tensor.h" does not exist; includes are named from the root of the project')

    def test_vendor_headers_stay_in_their_folder(self):
        for path, header, owners in (
                ("core/tensor.cpp", "dnnl.hpp", "kernels/cpu"),
                ("comm/exchange.cpp", "omp.h", "kernels/cpu"),
                ("trainers/loop.cpp", "immintrin.h", "kernels/cpu"),
                ("core/tensor.cpp", "cuda_runtime.h", "kernels/cuda"),
                ("comm/mpi/request.cpp", "nccl.h", "comm/nccl"),
                ("trainers/loop.cpp", "mpi.h", "comm/mpi"),
                ("comm/exchange.cpp", "mpi.h", "comm/mpi"),
                ("trainers/loop.cpp", "hdf5.h", "core/io, core/data"),
                ("core/io/a.cpp", "zlib.h", "core/data, core/image"),
                ("core/data/a.cpp", "openssl/evp.h", "core/io"),
                ("core/data/a.cpp", "opencv2/core.hpp", "core/image"),
                ("core/io/a.cpp", "curl/curl.h", "core/net"),
                ("jobs/cli/a.cpp", "archive_entry.h", "core/net"),
                ("trainers/loop.cpp", "yaml-cpp/yaml.h", "jobs/cli"),
                ("jobs/main.cpp", "boost/program_options.hpp", "jobs/cli"),
                ("comm/exchange.cpp", "spdlog/spdlog.h", "trainers, jobs")):
            self.violation(path, f"<{header}>", f"<{header}> belongs to {owners}")

    def test_vendor_headers_stay_out_of_shared_headers(self):
        for path, header in (("core/io/a.h", "hdf5.h"), ("trainers/log.h", "spdlog/spdlog.h")):
            self.violation(path, f"<{header}>", f"<{header}> in a header that others include: "
                           "move it to a source file")

    def test_unknown_vendors_are_named(self):
        self.violation("core/tensor.cpp", "<eigen3/Eigen>", "<eigen3/Eigen> is unknown: say in "
                       "tests/tools/check_includes.py whom it belongs to")

    def test_vectorised_files_share_no_inline_functions(self):
        self.violation("kernels/cpu/simd/pool.cpp", "<vector>", "<vector>: kernels/cpu/simd includes "
                       "only cstddef, cstdint, immintrin.h")
        self.violation("kernels/cpu/simd/pool.cpp", '"kernels/conv.h"',
                       "kernels/cpu/simd must not see kernels (kernels/conv.h)")

    def test_what_is_allowed(self):
        self.allowed("kernels/cpu/conv.cpp", "<dnnl.hpp>", '"kernels/conv.h"', '"kernels/cpu/simd.h"')
        self.allowed("kernels/cpu/onednn.h", "<dnnl.hpp>", '"kernels/cpu/device.h"')
        self.allowed("kernels/cpu/simd/pool.cpp", "<immintrin.h>", '"kernels/cpu/simd.h"',
                     '"kernels/cpu/simd/vec.h"')
        self.allowed("core/data/a.cpp", "<zlib.h>", "<hdf5.h>", "<sys/mman.h>", '"core/io/sha256.h"')
        self.allowed("core/io/a.h", "<nlohmann/json.hpp>", "<vector>")
        self.allowed("comm/single.cpp", '"comm/mpi/request.h"', '"core/tensor.h"', "<fmt/format.h>")
        self.allowed("trainers/loop.cpp", "<spdlog/spdlog.h>", '"kernels/device.h"', '"comm/exchange.h"')
        self.allowed("jobs/cli/options.h", "<boost/program_options.hpp>", '"comm/exchange.h"')
        self.allowed("tests/kernels/a_test.cpp", "<gtest/gtest.h>", '"kernels/cpu/device.h"')

    def test_an_empty_tree_is_no_success(self):
        self.assertEqual(run(check_includes, {"README.md": "x"})[0], 0)
        with mock.patch("sys.argv", ["check_includes.py", "/nonexistent"]), mock.patch("builtins.print"):
            self.assertEqual(check_includes.main(), 1)


class Sizes(unittest.TestCase):
    def test_long_files(self):
        line = "// A line.\n"
        self.assertEqual(run(check_sizes, {"core/a.h": line * 250, "core/a.cpp": line * 500}), (2, []))
        for path, lines, limit in (("core/a.h", 251, 250), ("core/a.cpp", 501, 500)):
            self.assertEqual(run(check_sizes, {path: line * lines})[1],
                             [f"{path}: {lines} lines, at most {limit}: look for a seam"])

    def test_opening(self):
        self.assertEqual(run(check_sizes, {"core/a.cpp": "#include <vector>\n"})[1],
                         ["core/a.cpp:1: opens without saying what the file is"])


class Documents(unittest.TestCase):
    TREE = {"docs/a.md": "# A\n", "core/tensor.h": "// x\n"}

    def test_what_exists(self):
        self.assertEqual(run(check_docs, self.TREE | {
            "README.md": "[a](docs/a.md#top) [w](https://example.org/x) `core/tensor.h` `core/*.h` "
                         "`core/ops/NAME.cpp` `runs/lenet/model.h5`\n"}), (2, []))

    def test_what_does_not(self):
        for text, name in (("see [b](docs/b.md)", "docs/b.md"), ("in `core/tensors.h`", "core/tensors.h"),
                           ("in `core/*.cu`", "core/*.cu"), ("in `docs/README.md`", "docs/README.md")):
            self.assertEqual(run(check_docs, self.TREE | {"README.md": f"\n{text}\n"})[1],
                             [f"README.md:2: '{name}' does not exist"])


class TidyChanged(unittest.TestCase):
    """What clang-tidy looks at."""
    TREE = {"core/a.h": "", "core/a.cpp": '#include "core/a.h"\n', "core/b.h": '#include "core/c.h"\n',
            "core/c.h": "", "core/lonely.h": "", "core/b.cpp": '#include "core/b.h"\n',
            "core/both.cpp": '#include "core/a.h"\n#include "core/b.h"\n'}
    SOURCES = {"core/a.cpp", "core/b.cpp", "core/both.cpp"}

    def chosen(self, **changed):
        """Of a tree with so many changed lines in core/NAME.h and core/NAME.cpp (NAME_h, NAME_cpp)."""
        paths = {"core/" + name.replace("_", "."): lines for name, lines in changed.items()}
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "core").mkdir()
            for path, content in self.TREE.items():
                (Path(folder) / path).write_text(content, encoding="utf-8")
            return tidy_changed.choose(Path(folder), paths, self.SOURCES)

    def test_sources_by_size(self):
        self.assertEqual(self.chosen(a_cpp=1, b_cpp=3), (["core/b.cpp", "core/a.cpp"], []))
        self.assertEqual(self.chosen(not_cpp=1), ([], []))

    def test_a_header_is_seen_by_a_source_that_includes_it(self):
        self.assertEqual(self.chosen(a_h=2), (["core/a.cpp"], []))
        self.assertEqual(self.chosen(c_h=2, a_cpp=1), (["core/b.cpp", "core/a.cpp"], []))
        self.assertEqual(self.chosen(c_h=2, a_h=2, both_cpp=1), (["core/both.cpp"], []))
        self.assertEqual(self.chosen(lonely_h=2), ([], ["core/lonely.h"]))


class SimdSymbols(unittest.TestCase):
    def test_shared_symbols(self):
        text = ("a.cpp.o:\n0000 T gentrain::simd::v4::kernels()\n0000 t sum(float)\n"
                "0000 W std::vector<int>::push_back(int)\n0000 T gentrain::simd::v3::kernels()\n")
        self.assertEqual(list(check_simd_symbols.violations("v4", text)), [
            "a.cpp.o: std::vector<int>::push_back(int) is weak: it comes from an inline function of a "
            "shared header",
            "a.cpp.o: gentrain::simd::v3::kernels() lies outside gentrain::simd::v4"])


if __name__ == "__main__":
    unittest.main()
