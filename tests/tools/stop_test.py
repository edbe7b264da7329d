#!/usr/bin/env python3
"""Runs that are stopped by signals end with 75 and go on to the same bytes; one output has one writer.

Usage: stop_test.py [unittest arguments]; $GENTRAIN is the program, $MPIRUN the launcher. The job of
these tests takes a second or two: $STOP_JOB."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from program_runs import MPI_ENVIRONMENT, run  # noqa: E402

GENTRAIN = os.environ["GENTRAIN"]
MPIRUN = os.environ.get("MPIRUN", "mpirun")
JOB = os.environ["STOP_JOB"]
KEYS = ["data.train_count=2000", "data.test_count=300", "batch.global=128", "stop.epochs=30",
        "optimizer.momentum=0.9", "log.every=1", "best.metric=loss", "checkpoint.every=50"]


class StopTest(unittest.TestCase):
    def setUp(self):
        self.base = tempfile.TemporaryDirectory()
        self.output = Path(self.base.name) / "run"
        self.addCleanup(self.base.cleanup)

    def command(self, output=None, threads=1):
        keys = [*KEYS, f"output={output or self.output}", f"threads={threads}"]
        return [GENTRAIN, JOB, *(part for key in keys for part in ("--set", key))]

    def start(self, ranks=1, threads=1):
        mpirun = [MPIRUN, "-np", str(ranks), "--oversubscribe", "--bind-to", "none"]
        command = [*(mpirun if ranks > 1 else []), *self.command(threads=threads)]
        process = subprocess.Popen(command, env={**os.environ, **MPI_ENVIRONMENT}, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(lambda: (process.poll() is None and process.kill(), process.wait(),
                                 process.stdout.close()))
        return process

    def wait_for_step(self, step):
        """Until metrics.jsonl has so many lines of steps."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if self.metrics()[-1]["step"] >= step:
                    return
            except (OSError, IndexError, json.JSONDecodeError):
                pass
            time.sleep(0.005)
        self.fail(f"step {step} was not reached")

    def metrics(self, output=None):
        lines = ((output or self.output) / "metrics.jsonl").read_text().splitlines()
        return [{key: value for key, value in json.loads(line).items() if key != "images_per_s"}
                for line in lines]

    def status(self):
        return json.loads((self.output / "status.json").read_text())

    def ranks_of(self, mpirun_pid):
        children = Path(f"/proc/{mpirun_pid}/task/{mpirun_pid}/children").read_text().split()
        return [int(child) for child in children]

    def finish_and_compare(self, ranks=1, threads=1):
        """Goes on, and compares with a run that was never stopped."""
        result = run(self.command(threads=threads), ranks=ranks, limit=60, mpirun=MPIRUN)
        self.assertEqual(result.code, 0, str(result))
        self.assertIn("going on from", result.output)
        straight = Path(self.base.name) / "straight"
        result = run(self.command(output=straight), limit=60)
        self.assertEqual(result.code, 0, str(result))
        summaries = [json.loads((folder / "summary.json").read_text())
                     for folder in (self.output, straight)]
        for key in ("state_sha256", "weights_sha256", "metrics", "best_step", "train"):
            self.assertEqual(summaries[0][key], summaries[1][key], key)
        self.assertEqual(self.metrics(), self.metrics(straight))

    def expect_stopped(self, process):
        output, _ = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 75, output)
        self.assertIn("stopped on request behind step", output)
        status = self.status()
        self.assertEqual((status["state"], status["exit"]), ("stopped", 75))
        self.assertFalse((self.output / "lock.json").exists())
        return output

    def test_terminate_alone(self):
        process = self.start(threads=2)
        self.wait_for_step(70)
        process.send_signal(signal.SIGTERM)
        self.expect_stopped(process)
        self.finish_and_compare(ranks=3)

    def wait_for_handler(self, process, number):
        """Until the process provides for a signal."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
            caught = int(re.search(r"^SigCgt:\s*([0-9a-f]+)", status, re.MULTILINE)[1], 16)
            if caught >> (number - 1) & 1:
                return
            time.sleep(0.002)
        self.fail(f"signal {number} was not provided for")

    def test_a_request_before_the_first_step(self):
        process = self.start()
        self.wait_for_handler(process, signal.SIGINT)  # soon after the start
        process.send_signal(signal.SIGINT)
        self.expect_stopped(process)
        self.assertGreaterEqual(self.status()["step"], 1)
        self.finish_and_compare(threads=2)

    def test_a_second_interrupt_ends_at_once(self):
        process = self.start()
        self.wait_for_step(5)
        process.send_signal(signal.SIGSTOP)  # both arrive before another step can end
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=30)
        self.assertIn(process.returncode, (-signal.SIGINT, -signal.SIGTERM))

    def test_usr1_to_any_rank(self):
        for rank in (0, 2):
            with self.subTest(rank=rank):
                process = self.start(ranks=3)
                self.wait_for_step(70 + 100 * rank)
                os.kill(self.ranks_of(process.pid)[rank], signal.SIGUSR1)
                self.expect_stopped(process)
        self.finish_and_compare(ranks=2, threads=2)

    def test_usr1_to_mpirun(self):
        process = self.start(ranks=2)
        self.wait_for_step(30)
        process.send_signal(signal.SIGUSR1)
        self.expect_stopped(process)
        self.finish_and_compare()

    def test_a_killed_run_goes_on(self):
        process = self.start(ranks=4)
        self.wait_for_step(120)
        os.kill(self.ranks_of(process.pid)[1], signal.SIGKILL)
        before = time.monotonic()
        output, _ = process.communicate(timeout=30)
        self.assertNotEqual(process.returncode, 0, output)
        self.assertLess(time.monotonic() - before, 10)
        self.finish_and_compare(ranks=16)

    def test_a_second_writer_is_refused(self):
        process = self.start()
        self.wait_for_step(5)
        process.send_signal(signal.SIGSTOP)
        result = run(self.command(), limit=20)
        self.assertEqual(result.code, 3, str(result))
        self.assertIn(f"the output folder {self.output} is being written to by another run (",
                      result.output)
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0)

    def test_one_that_lost_its_lock_ends(self):
        process = self.start()
        self.wait_for_step(5)
        other = self.output / "lock.new"
        other.write_text('{"run": "other", "where": "node7:3"}')
        other.replace(self.output / "lock.json")  # never empty
        output, _ = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 3, output)
        self.assertIn(f"the lock of {self.output} is lost (it is node7:3's now)", output)
        self.assertEqual(self.status()["state"], "running")  # it wrote nothing more


if __name__ == "__main__":
    unittest.main()
