#!/usr/bin/env python3
"""Regressions on features through the built program: the same bytes on any number of ranks and threads, also of
runs that were killed.

usage: GENTRAIN=PROGRAM MPIRUN=mpirun regression_test.py [CLASS...]
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
import unittest

from program_runs import MPI_ENVIRONMENT, png, run
from same_bytes_test import JOBS, MPIRUN, PROGRAM, SameBytes

JOB = "tiny/regression.yaml"


class Regression(SameBytes):
    def setUp(self):
        super().setUp()
        for i in range(24):
            folder = self.folder / "set" / ("cats", "dogs")[i % 2]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{i}.png").write_bytes(png(40 + i, 56, [10 * i, 120 + 60 * (i % 2), 250 - 9 * i]))

    def found(self, ranks, threads, *settings):
        """What a run comes to; its features are computed, as its cache is empty."""
        cache = f"data.cache=cache_{len(list(self.folder.glob('cache_*')))}"
        summary = self.summary(JOB, ranks, threads, "data.path=set", cache, *settings)
        self.assertEqual(summary["features_computed"], 24)
        model = hashlib.sha256((self.folder / "run/model.h5").read_bytes()).hexdigest()
        return [model] + [summary[key] for key in ("weights_sha256", "state_sha256", "metrics")]

    def test_any_ranks_and_threads(self):
        for precision in ("precision=f32", "precision=bf16_emulated"):
            expected = self.found(1, 1, precision)
            for ranks, threads in ((1, 2), (2, 1), (2, 2), (3, 1), (4, 1)):
                with self.subTest(precision=precision, ranks=ranks, threads=threads):
                    self.assertEqual(self.found(ranks, threads, precision), expected)
        self.assertNotEqual(self.found(1, 1, "precision=f32")[1], expected[1])

    def test_kills(self):
        """Killed while it fits, and gone on with on other ranks and threads."""
        settings = ("data.path=set", "data.cache=cache", "checkpoint.every=1",
                    "regression={max_iterations: 150, reg_param: 1.0e-4, elastic_net: 0.5, "
                    "tolerance: 0, shards: 4}")
        expected = self.hashes(JOB, 1, 1, *settings)
        metrics = (self.folder / "run/metrics.jsonl").read_bytes()
        self.assertGreater(metrics.count(b"\n"), 15)
        shutil.rmtree(self.folder / "run")
        words = [word for setting in (*settings, "output=run") for word in ("--set", setting)]
        for lines, ranks, threads in ((3, 2, 1), (8, 1, 2)):
            self.kill_at(lines, [PROGRAM, JOBS / JOB, *words, "--set", f"threads={threads}"], ranks)
        result = run([PROGRAM, JOBS / JOB, *words, "--set", "threads=1"], 3, 60.0, cwd=self.folder,
                     mpirun=MPIRUN)
        self.assertEqual(result.code, 0, result)
        self.assertIn("going on from run/checkpoints/step-", result.output)
        summary = json.loads((self.folder / "run/summary.json").read_text(encoding="utf-8"))
        self.assertEqual({key: summary[key] for key in expected}, expected)
        self.assertEqual((self.folder / "run/metrics.jsonl").read_bytes(), metrics)

    def kill_at(self, lines, command, ranks):
        """Kills all processes of a run once its metrics.jsonl has so many lines."""
        if ranks > 1:
            command = [MPIRUN, "-np", str(ranks), "--oversubscribe", "--bind-to", "none", *command]
        process = subprocess.Popen([str(word) for word in command], cwd=self.folder,
                                   env={**os.environ, **MPI_ENVIRONMENT}, start_new_session=True,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        metrics = self.folder / "run/metrics.jsonl"
        limit = time.monotonic() + 60
        while not metrics.exists() or metrics.read_bytes().count(b"\n") < lines:
            self.assertIsNone(process.poll(), "the run was over before it could be killed")
            self.assertLess(time.monotonic(), limit)
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.assertFalse((self.folder / "run/summary.json").exists(), "it was killed too late")


if __name__ == "__main__":
    unittest.main()
