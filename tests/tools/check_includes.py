#!/usr/bin/env python3
"""The layering rule: kernels < core < comm < trainers < jobs, and vendor headers only where they belong.

usage: check_includes.py [ROOT]     prints one line per violation; exit code 1 if there are any

The tables below are the rule. A folder's own rule is that of its longest prefix in LAYERS.
"""

import re
import sys
from pathlib import Path

# Folder -> the folders whose headers it may include, besides its own. "core" does not stand for its
# sub-libraries core/data, core/graph, core/keras, core/io, core/image, core/net and core/onnx.
LAYERS = {
    "kernels": [],
    "kernels/cpu": ["kernels"],
    "kernels/cpu/simd": [],
    "kernels/cuda": ["kernels"],
    "core": ["kernels"],
    "core/io": ["kernels"],
    "core/data": ["kernels", "core/io"],
    "core/image": ["kernels", "core/io", "core/data"],
    "core/net": ["kernels", "core/io"],
    "core/graph": ["kernels", "core", "core/io"],
    "core/keras": ["kernels", "core", "core/io", "core/graph"],
    "core/onnx": ["kernels", "core", "core/io", "core/graph"],
    "comm": ["kernels", "core"],
    "comm/mpi": ["kernels", "core", "comm"],
    "comm/nccl": ["kernels", "core", "comm"],
    "trainers": ["core", "core/io", "core/data", "core/graph", "core/image", "core/onnx", "comm"],
    "jobs": ["core", "core/io", "core/data", "core/graph", "core/image", "core/net", "core/onnx", "comm",
             "trainers"],
}

# Folders whose headers only the named folders may include (tests aside).
PRIVATE = {
    "kernels/cpu": ["kernels/cpu"],
    "kernels/cpu/simd": ["kernels/cpu", "kernels/cpu/simd"],
    "kernels/cuda": ["kernels/cuda"],
    "comm/mpi": ["comm", "comm/mpi"],
    "comm/nccl": ["comm", "comm/nccl"],
}

# Trainers and jobs see no kernels, but for plain values and the name of the device that they hand on.
PLAIN_KERNEL_HEADERS = {
    "kernels/activation.h",  # the name of an activation
    "kernels/device.h",      # Device, Queue: owned by a job, handed to core
    "kernels/dtype.h",
    "kernels/error.h",
    "kernels/log.h",
    "kernels/parted_device.h",  # a device around another one
    "kernels/philox.h",      # RngKey
    "kernels/progress.h",
    "kernels/shape.h",
    "kernels/shared_blocks.h",  # memory of a host's ranks, handed from comm to core
}

# Vendor header (pattern on the name between < and >) -> the folders that may include it.
# In a header, a vendor is allowed only if no other layer includes it: PRIVATE, and jobs, the last layer.
VENDORS = [
    (r"(oneapi/)?dnnl.*", ["kernels/cpu"]),
    (r"omp\.h", ["kernels/cpu"]),
    (r".*intrin\.h", ["kernels/cpu"]),
    (r"(cuda|cudnn|cublas|curand|nvrtc).*", ["kernels/cuda"]),
    (r"nccl\.h", ["comm/nccl"]),
    (r"mpi\.h", ["comm/mpi"]),
    (r"hdf5.*\.h", ["core/io", "core/data"]),
    (r"zlib\.h", ["core/data", "core/image"]),
    (r"openssl/.*", ["core/io"]),
    (r"opencv2/.*", ["core/image"]),
    (r"curl/.*|archive(_entry)?\.h", ["core/net"]),
    (r"zip\.h", ["core/keras"]),
    (r"google/protobuf/.*|onnx\.pb\.h", ["core/onnx/backend"]),
    (r"yaml-cpp/.*", ["jobs/cli"]),
    (r"boost/.*", ["jobs/cli"]),
    (r"spdlog/.*", ["trainers", "jobs"]),
]
# Allowed everywhere but in kernels/cpu/simd, in headers too.
EVERYWHERE = r"(fmt|nlohmann)/.*"
# The C library's and the system's headers; C++'s own have neither a dot nor a slash.
SYSTEM = re.compile(
    r"[a-z_0-9]+|(sys|linux|netinet|arpa)/.*|(unistd|fcntl|dlfcn|signal|sched|pthread|poll|errno|"
    r"termios|fenv|link|execinfo|malloc|dirent|cpuid|limits|string|stdlib|time)\.h")
# kernels/cpu/simd is compiled once per instruction set: an inline function of a shared header would be
# emitted twice and the linker could keep the wrong one. So: these only.
SIMD_SYSTEM = {"immintrin.h", "cstdint", "cstddef"}
# The table that this folder fills, and the numbers of an enum: neither brings a function along.
SIMD_OWN = {"kernels/cpu/simd.h", "kernels/activation.h", "kernels/pointwise_function.h"}

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:<([^>]+)>|"([^"]+)")')
SUFFIXES = {".h", ".cpp", ".cu", ".cuh"}


def layer_of(path):
    """The longest folder of LAYERS that holds a path; "tests"; or "" for none."""
    if path.startswith("tests/"):
        return "tests"
    folder = path.rpartition("/")[0]
    while folder and folder not in LAYERS:
        folder = folder.rpartition("/")[0]
    return folder


def inside(path, folders):
    return any(path.startswith(folder + "/") for folder in folders)


def check_own(path, layer, target, root):
    """A quoted include: of the project itself, named from the root."""
    if not (root / target).is_file():
        return f'"{target}" does not exist; includes are named from the root of the project'
    if layer == "tests":
        return None
    if layer == "kernels/cpu/simd" and target in SIMD_OWN:
        return None
    other = layer_of(target)
    if other == "tests":
        return f"nobody outside tests/ includes tests/ ({target})"
    if other in PRIVATE and layer != other and layer not in PRIVATE[other]:
        return f"{target} is private to {other}"
    if layer in ("trainers", "jobs") and other == "kernels":
        if target in PLAIN_KERNEL_HEADERS:
            return None
        return (f"{layer} must not see {target}: of kernels only "
                f"{', '.join(sorted(PLAIN_KERNEL_HEADERS))}")
    if other == layer or other in LAYERS[layer] or layer in PRIVATE.get(other, []):
        return None
    return f"{layer} must not see {other} ({target})"


def check_foreign(path, layer, target):
    """An include in angle brackets: of a vendor or the system."""
    if layer == "tests":
        return None
    if layer == "kernels/cpu/simd":
        if target in SIMD_SYSTEM:
            return None
        return f"<{target}>: kernels/cpu/simd includes only {', '.join(sorted(SIMD_SYSTEM))}"
    for pattern, folders in VENDORS:
        if re.fullmatch(pattern, target):
            if not inside(path, folders):
                return f"<{target}> belongs to {', '.join(folders)}"
            if path.endswith((".h", ".cuh")) and layer not in PRIVATE and layer != "jobs":
                return f"<{target}> in a header that others include: move it to a source file"
            return None
    if re.fullmatch(EVERYWHERE, target) or SYSTEM.fullmatch(target):
        return None
    return f"<{target}> is unknown: say in tests/tools/check_includes.py whom it belongs to"


def check_file(root, path):
    layer = layer_of(path)
    for number, line in enumerate((root / path).read_text(encoding="utf-8").splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        foreign, own = match.groups()
        problem = check_foreign(path, layer, foreign) if foreign else check_own(path, layer, own, root)
        if problem:
            yield f"{path}:{number}: {problem}"


def sources(root):
    """C++ and CUDA files of the project, relative to the root, in a fixed order."""
    folders = sorted({layer.partition("/")[0] for layer in LAYERS} | {"tests"})
    for folder in folders:
        for file in sorted((root / folder).rglob("*")):
            if file.suffix in SUFFIXES and file.is_file():
                yield file.relative_to(root).as_posix()


def check(root):
    """(number of files, violations) of a tree."""
    files = list(sources(root))
    return len(files), [problem for path in files for problem in check_file(root, path)]


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2])
    files, problems = check(root.resolve())
    print("\n".join(problems) if problems else f"{files} files keep the include rule")
    return 1 if problems or not files else 0


if __name__ == "__main__":
    sys.exit(main())
