#!/usr/bin/env python3
"""What gentrain exports, loaded by ONNX Runtime, Keras 3 and tf_keras 2, which come from PyPI into a virtual
environment of their own: the outputs are those of `gentrain features`, within 1e-4 of the largest one. Ends with code
77, skipped, where the environment cannot be made or filled.

usage: GENTRAIN=PROGRAM [GENTRAIN_DATA=FOLDER] interop_test.py FOLDER_OF_ENVIRONMENT CLASS
"""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROGRAM = os.environ.get("GENTRAIN", "gentrain")
SKIPPED = 77
TOLERANCE = 1e-4
PACKAGES = {
    "OnnxRuntime": ["onnxruntime>=1.17,<2", "h5py", "numpy"],
    "Keras": ["keras>=3,<4", "tensorflow-cpu>=2.16,<3", "h5py", "numpy"],
    "TfKeras": ["tf_keras>=2.16,<3", "tensorflow-cpu>=2.16,<3", "h5py", "numpy"],
}
JOB = """\
batch: {{global: 32, shards: 16}}
data: {{source: digits, train_count: 64, test_count: 16}}
model: {model}
stop: {{steps: 2}}
output: {output}
threads: 1
"""
SEQUENTIAL = """
  layers:
    - {conv: {out: 4, kernel: 3, padding: same}}
    - relu
    - {average_pool: 2}
    - {conv: {out: 6, kernel: 3, stride: 2, padding: 1, bias: false}}
    - sigmoid
    - {max_pool: 2}
    - flatten
    - {dropout: 0.3}
    - {linear: 10}
"""
BUILT_IN = ["--weights", "random", "--top", "original"]
# Files of $GENTRAIN_DATA/models: what Keras has layers for, and what ONNX alone expresses.
FIXTURES = ["keras2/resnet.h5", "keras2/inception.h5", "keras2/depthwise.h5", "keras2/pooling.h5",
            "keras2/activations.h5", "keras2/transpose.h5", "keras2/shared.h5", "keras2/two_outputs.h5",
            "keras3/mobilenet.h5", "keras3/nested_functional.h5", "onnx/torch_residual_17.onnx",
            "onnx/torch_mobile_18_dynamo.onnx", "onnx/torch_generator_13.onnx"]
ONNX_FIXTURES = ["onnx/torch_pools_18.onnx", "onnx/torch_mixed_17.onnx", "onnx/op_instance_norm.onnx"]


def run_program(*arguments, cwd):
    result = subprocess.run([PROGRAM, *map(str, arguments)], cwd=cwd, capture_output=True, text=True,
                            check=False)
    if result.returncode != 0:
        raise AssertionError(f"gentrain {arguments}: {result.returncode}\n{result.stdout}{result.stderr}")
    return result.stdout


class Interop:
    """Models of every origin, exported; what a runtime computes is held against gentrain."""

    ENDING = ""
    FIXTURES = FIXTURES

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="gentrain_interop_"))
        self.addCleanup(shutil.rmtree, self.folder)

    def load(self, path):
        """(extents of each input, -1 for the samples; a function from arrays to arrays)"""
        raise NotImplementedError

    def compare(self, model, *options):
        import h5py
        import numpy
        out = self.folder / f"out{self.ENDING}"
        run_program("export", model, out, *options, cwd=self.folder)
        shapes, compute = self.load(out)
        generator = numpy.random.default_rng(7)
        inputs = [generator.uniform(-1, 1, [2, *shape[1:]]).astype("float32") for shape in shapes]
        with h5py.File(self.folder / "in.h5", "w") as file:
            for i, values in enumerate(inputs):
                file["input" if len(inputs) == 1 else f"input_{i}"] = values
        run_program("features", model, "in.h5", "--out", "wanted.h5", *options, cwd=self.folder)
        came = compute(inputs)
        with h5py.File(self.folder / "wanted.h5") as file:
            wanted = [file["output" if len(came) == 1 else f"output_{i}"][()] for i in range(len(came))]
        for ours, theirs in zip(wanted, came):
            self.assertEqual(ours.shape, theirs.shape)
            self.assertGreater(abs(ours).max(), 0)
            self.assertLess(abs(ours - theirs).max(), TOLERANCE * abs(ours).max())

    def train(self, name, model):
        (self.folder / f"{name}.yaml").write_text(JOB.format(model=model, output=name), encoding="utf-8")
        run_program(f"{name}.yaml", cwd=self.folder)
        return f"{name}/model.h5"

    def test_lenet(self):
        self.compare(self.train("lenet", "lenet"))

    def test_layers_in_a_row(self):
        self.compare(self.train("layers", SEQUENTIAL))

    def test_squeezenet(self):
        self.compare("squeezenet", *BUILT_IN)

    def test_inception_v3(self):
        self.compare("inception_v3", *BUILT_IN)

    def test_files_of_other_frameworks(self):
        models = Path(os.environ.get("GENTRAIN_DATA", "data")).absolute() / "models"
        if not models.is_dir():
            self.skipTest("no folder models in $GENTRAIN_DATA")
        for name in self.FIXTURES:
            with self.subTest(name):
                self.compare(models / name)


class OnnxRuntime(Interop, unittest.TestCase):
    ENDING = ".onnx"
    FIXTURES = FIXTURES + ONNX_FIXTURES

    def load(self, path):
        import onnxruntime
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        shapes = [value.shape for value in session.get_inputs()]
        names = [value.name for value in session.get_inputs()]
        return shapes, lambda inputs: session.run(None, dict(zip(names, inputs)))


class Keras(Interop, unittest.TestCase):
    ENDING = ".h5"

    @staticmethod
    def library():
        import keras
        return keras

    def load(self, path):
        import numpy
        model = self.library().models.load_model(path, compile=False)

        def compute(inputs):
            results = model(inputs if len(inputs) > 1 else inputs[0], training=False)
            results = results if isinstance(results, (list, tuple)) else [results]
            return [numpy.asarray(result) for result in results]
        return [tensor.shape for tensor in model.inputs], compute


class TfKeras(Keras):
    @staticmethod
    def library():
        import tf_keras
        return tf_keras


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


def prepare(folder, packages):
    """The environment's Python, with the packages. Ends the program if that cannot be had."""
    python = folder / "bin" / "python"
    if not python.exists():
        made = subprocess.run([sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True,
                              check=False)
        if made.returncode != 0:
            shutil.rmtree(folder, ignore_errors=True)
            skip(f"python3 -m venv: {(made.stdout + made.stderr).strip()[-300:]}")
    installed = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1",
         "--timeout", "20", *packages], capture_output=True, text=True, check=False)
    if installed.returncode != 0:
        skip(f"pip install {' '.join(packages)}: {installed.stderr.strip()[-300:]}")
    return str(python)


def main():
    if len(sys.argv) != 3 or sys.argv[2] not in PACKAGES:
        print(__doc__)
        return 2
    folder, name = Path(sys.argv[1]).absolute(), sys.argv[2]
    if os.environ.get("GENTRAIN_INTEROP") != name:
        python = prepare(folder, PACKAGES[name])
        environment = {**os.environ, "GENTRAIN_INTEROP": name, "KERAS_BACKEND": "tensorflow",
                       "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        return subprocess.run([python, __file__, str(folder), name], env=environment,
                              check=False).returncode
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(globals()[name])
    return 0 if unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
