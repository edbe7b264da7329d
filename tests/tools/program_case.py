"""What tests of the built program share: a folder with a small job in it, runs on one rank and on three that must
end in time, exit codes and messages."""

import os
import shutil
import tempfile
import unittest
from pathlib import Path

from program_runs import run

PROGRAM = os.environ.get("GENTRAIN", "gentrain")
MPIRUN = os.environ.get("MPIRUN", "mpirun")
LIMIT = 10.0
USAGE, BAD_FILE, NO_DEVICE, RANK_TROUBLE, NOT_FINITE = 2, 3, 4, 5, 6
JOB = """\
batch: {global: 32, shards: 16}
data: {source: digits, train_count: 64, test_count: 16}
model: lenet
stop: {steps: 2}
threads: 1
"""


class ProgramTest(unittest.TestCase):
    """A folder of its own with a job in it."""

    JOB = JOB

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="gentrain_bad_input_"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.write("job.yaml", self.JOB)

    def write(self, name, text):
        (self.folder / name).write_text(text, encoding="utf-8")

    def gentrain(self, *arguments, ranks=1, env=None, command=None):
        """Runs the program and fails unless it ends in time on all ranks."""
        environment = {"GENTRAIN_DATA": str(self.folder / "no_data"), **(env or {})}
        result = run(command or [PROGRAM, *arguments], ranks, LIMIT, environment, self.folder, MPIRUN)
        self.assertIsNotNone(result.code, f"did not end in {LIMIT} s: {result}")
        self.assertEqual(result.survivors, [], result)
        return result

    def train(self, *settings, **keywords):
        options = [word for setting in settings for word in ("--set", setting)]
        return self.gentrain("job.yaml", "--overwrite", *options, **keywords)

    def assert_refused(self, result, code, message):
        self.assertEqual(result.code, code, result)
        self.assertRegex(result.output, message)

    def each_ranks(self, action, code, message):
        """The same refusal on one rank and on three."""
        for ranks in (1, 3):
            with self.subTest(ranks=ranks):
                self.assert_refused(action(ranks), code, message)
