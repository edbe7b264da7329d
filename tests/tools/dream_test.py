#!/usr/bin/env python3
"""Dreams by the built program: the same bytes on any number of ranks and threads, and going on after a kill.

usage: GENTRAIN=PROGRAM MPIRUN=mpirun dream_test.py [CLASS...]
"""

import os
import shutil
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from program_runs import png, run

PROGRAM = os.environ.get("GENTRAIN", "gentrain")
MPIRUN = os.environ.get("MPIRUN", "mpirun")
JOB = Path(__file__).resolve().parents[2] / "jobs/tiny/dream.yaml"


class Dreams(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="gentrain_dream_"))
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "in").mkdir()
        for i, colour in enumerate(((200, 30, 40), (20, 160, 90), (60, 70, 250))):
            (self.folder / f"in/{i}.png").write_bytes(png(50 + i, 44, list(colour)))

    def command(self, output, threads, *settings):
        options = [word for setting in ("images=in", f"output={output}", f"threads={threads}", *settings)
                   for word in ("--set", setting)]
        return [PROGRAM, JOB, *options]

    def dream(self, output, ranks, threads, *settings):
        """Runs the job; its log."""
        result = run(self.command(output, threads, *settings), ranks, 60.0, cwd=self.folder, mpirun=MPIRUN)
        self.assertEqual(result.code, 0, result)
        return result.output

    def files(self, output):
        folder = self.folder / output
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*")
                if path.is_file() and path.name != "job.yaml"}  # which names output and threads

    def test_any_ranks_and_threads(self):
        for precision in ("f32", "bf16_emulated"):
            self.dream(f"{precision}_1", 1, 1, f"precision={precision}")
            expected = self.files(f"{precision}_1")
            self.assertIn("003_2/octave_2_iteration_02.png", expected)
            for ranks, threads in ((1, 2), (2, 1), (2, 2), (3, 1), (4, 1)):
                with self.subTest(ranks=ranks, threads=threads, precision=precision):
                    output = f"{precision}_{ranks}_{threads}"
                    self.dream(output, ranks, threads, f"precision={precision}")
                    self.assertEqual(self.files(output), expected)
        self.assertNotEqual(self.files("f32_1")["001_0.png"], self.files("bf16_emulated_1")["001_0.png"])

    def test_goes_on_after_a_kill(self):
        long = ("iterations=20", "size=[96, 90]")
        self.dream("whole", 1, 1, *long)
        with open(self.folder / "log", "wb") as log:
            process = subprocess.Popen([str(word) for word in self.command("killed", 1, *long)],
                                       cwd=self.folder, stdout=log, stderr=log)
            state = self.folder / "killed/001_0.state"
            end = time.monotonic() + 30
            while not state.exists() and process.poll() is None and time.monotonic() < end:
                time.sleep(0.005)
            process.kill()
            process.wait()
        self.assertTrue(state.exists(), (self.folder / "log").read_text(encoding="utf-8"))
        self.assertRegex(self.dream("killed", 2, 2, *long), r"0\.png: going on behind iteration \d+ of octave")
        self.assertEqual(self.files("killed"), self.files("whole"))

    def test_other_images_on_one_rank(self):
        shutil.copytree(self.folder / "in", self.folder / "other/in")
        (self.folder / "other/in/2.png").rename(self.folder / "other/in/3.png")
        command = ('test "$OMPI_COMM_WORLD_RANK" = 1 && cd other; exec "$@"')
        result = run(["sh", "-c", command, "sh", *self.command("out", 1)], 2, 60.0, cwd=self.folder,
                     mpirun=MPIRUN)
        self.assertEqual(result.code, 5, result)
        self.assertRegex(result.output, r"rank 1 .* another job")


if __name__ == "__main__":
    unittest.main()
