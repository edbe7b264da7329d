#!/usr/bin/env python3
"""A checkpoint of a real run as others see it: read with h5py and hashlib alone, as
docs/checkpoint-format.md describes it. The Python of that document is run, too.

usage: GENTRAIN=PROGRAM checkpoint_h5py_test.py
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import h5py
except ImportError:
    print("python3 has no h5py")
    sys.exit(77)  # skipped

PROGRAM = os.environ.get("GENTRAIN", "gentrain")
DOCUMENT = Path(__file__).parents[2] / "docs" / "checkpoint-format.md"
JOB = """\
batch: {global: 64, shards: 4}
data: {source: digits, train_count: 256, test_count: 32}
model: lenet
optimizer: {name: sgd, momentum: 0.9}
checkpoint: {every: 3}
stop: {steps: 7}
threads: 1
"""


def check_block(raw):
    block = raw[:512].rstrip(b"\0").decode("ascii").splitlines()
    assert block[:2] == ["gentrain checkpoint", "format 1"], block
    assert block[2] == f"bytes {len(raw)}", block
    assert block[3] == f"sha256 {hashlib.sha256(raw[512:]).hexdigest()}", block
    assert len(block) == 4 and not raw[len("\n".join(block)) + 1:512].strip(b"\0")


def check_arrays(path, parameters):
    """Of the state's groups, and that every array has its hash."""
    with h5py.File(path, "r") as file:
        order = json.loads(file["order"][()])
        found = []
        file["state"].visititems(
            lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
        assert sorted(found) == sorted(order), (found, order)
        for name in order:
            array = file["state"][name]
            assert array.dtype == "<f4" and array.chunks is None
            assert array.attrs["sha256"].decode() == hashlib.sha256(array[()].tobytes()).hexdigest(), name
        for name, shape in parameters.items():
            assert file["state/weights"][name].shape == shape, name
            assert file["state/optimizer/momentum"][name].shape == shape, name
        return json.loads(file["header"][()]), order


def run_document(path):
    """Its Python, with PATH for the file's name."""
    code = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.S)[1]
    names = {"path": str(path)}
    exec(code, names)  # pylint: disable=exec-used
    return names["header"], names["arrays"]


def main():
    folder = Path(tempfile.mkdtemp(prefix="gentrain_h5py_"))
    try:
        (folder / "job.yaml").write_text(JOB, encoding="utf-8")
        subprocess.run([PROGRAM, "job.yaml", "--quiet"], cwd=folder, check=True, timeout=60)
        files = sorted((folder / "runs/job/checkpoints").glob("step-*.h5"))
        assert [file.name for file in files][-1] == "step-000000007.h5", files
        path = files[-1]
        check_block(path.read_bytes())
        header, order = check_arrays(path, {"conv1/weight": (6, 5, 5, 1), "conv1/bias": (6,),
                                            "fc2/weight": (10, 100), "fc2/bias": (10,)})
        assert (header["job"], header["step"]) == ("job", 7), header
        assert "shards" in header["contract"] and "digits" in header["data"], header
        document_header, arrays = run_document(path)
        assert document_header == header and list(arrays) == order
        damaged = bytearray(path.read_bytes())
        damaged[-100] ^= 1
        path.write_bytes(damaged)
        try:
            run_document(path)
        except AssertionError:
            print("ok")
        else:
            raise AssertionError("the document's code takes a damaged file")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
