#!/usr/bin/env python3
"""`gentrain submit` on a real Slurm, whichever the PATH and $SLURM_CONF lead to: time-limit signal, crash of a
node's processes, node set down, requeue by an operator, signal by hand; the run ends with the bytes of an
undisturbed one. Skipped without Slurm; as root of a test Slurm on this machine alone, with two idle nodes.

usage: GENTRAIN=PROGRAM slurm_test.py
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

PROGRAM = os.environ.get("GENTRAIN", "gentrain")
JOB = """\
batch: {global: 64, shards: 16}
data: {source: digits, train_count: 3200, test_count: 100}
model: lenet
stop: {steps: 8000}
threads: 1
checkpoint: {every: 100}
evaluate: {every: 100}
output: run
"""
SETTLE = 8.0  # seconds that Slurm takes to end a requeued job's processes; an earlier start is cut down with them


def slurm(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


def has_slurm():
    try:
        nodes = slurm("sinfo", "-h", "-N", "-t", "idle", "-o", "%N")
    except OSError:
        return False
    return nodes.returncode == 0 and len(set(nodes.stdout.split())) >= 2 and os.geteuid() == 0


def processes_of_node(node):
    """Steps and ranks of a node on this machine."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"SLURMD_NODENAME={node}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            pass  # ended meanwhile
    return found


class Slurm(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="gentrain_slurm_test_"))
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "job.yaml").write_text(JOB, encoding="utf-8")

    def submit(self, *options):
        result = subprocess.run(
            [PROGRAM, "submit", "job.yaml", "--nodes", "2", "--ranks-per-node", "2", "--time", "1",
             "--signal-before", "50", "--sbatch-option=output=log.txt", *options],
            cwd=self.folder, capture_output=True, text=True, check=True)
        self.job = result.stdout.split()[-1]
        self.addCleanup(slurm, "scancel", self.job)

    def info(self, key):
        for word in slurm("scontrol", "show", "job", self.job).stdout.split():
            if word.startswith(key + "="):
                return word.partition("=")[2]
        return None

    def log(self):
        file = self.folder / "log.txt"
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    def wait_until(self, condition, what, limit=60.0):
        end = time.monotonic() + limit
        while not (value := condition()):
            self.assertLess(time.monotonic(), end, f"{what}: not within {limit} s\n{self.log()[-4000:]}")
            time.sleep(0.1)
        return value

    def newest(self):
        return max((path.name for path in (self.folder / "run" / "checkpoints").glob("step-*.h5")), default="")

    def wait_for_progress(self):
        before = self.newest()
        self.wait_until(lambda: self.newest() > before, "a new checkpoint")

    def wait_for_restart(self, restarts):
        self.wait_until(lambda: self.info("Restarts") == str(restarts), f"requeue {restarts}")
        time.sleep(SETTLE)
        slurm("scontrol", "update", f"jobid={self.job}", "StartTime=now")
        self.wait_until(lambda: f"gentrain.sbatch: start {restarts} " in self.log(), f"start {restarts}")

    def second_node(self):
        """The node that does not run the batch script."""
        nodes = slurm("scontrol", "show", "hostnames", self.info("NodeList")).stdout.split()
        return next(node for node in nodes if node != self.info("BatchHost"))

    def wait_for_end(self):
        self.wait_until(lambda: self.info("JobState") not in ("RUNNING", "COMPLETING"), "the end", 120)
        self.assertEqual(self.info("JobState"), "COMPLETED", self.log()[-4000:])

    def summary(self, output):
        return json.loads((self.folder / output / "summary.json").read_text(encoding="utf-8"))

    def test_a_run_through_everything(self):
        self.submit()
        self.wait_for_restart(1)  # the signal before the time limit
        self.assertIn("exit code 75 at step ", self.log())
        slurm("scontrol", "update", f"jobid={self.job}", "TimeLimit=60")
        self.wait_for_progress()
        for pid in processes_of_node(self.second_node()):
            os.kill(pid, signal.SIGKILL)
        self.wait_for_restart(2)
        self.wait_for_progress()
        node = self.second_node()
        slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        self.addCleanup(slurm, "scontrol", "update", f"nodename={node}", "state=resume")
        self.wait_for_restart(3)
        self.wait_for_progress()
        slurm("scontrol", "requeue", self.job)
        self.wait_for_restart(4)
        self.wait_for_progress()
        slurm("scancel", "--signal=USR1", "--batch", self.job)
        self.wait_for_restart(5)
        self.wait_for_end()
        straight = subprocess.run([PROGRAM, "job.yaml", "--quiet", "--set", "output=straight"],
                                  cwd=self.folder, check=False)
        self.assertEqual(straight.returncode, 0)
        self.assertEqual(self.summary("run")["state_sha256"], self.summary("straight")["state_sha256"])
        self.assertEqual(self.summary("run")["restarts"], 5)

    def test_a_wrong_job_is_not_requeued(self):
        self.submit("--set", "optimizer.lr=1e300")
        self.wait_until(lambda: self.info("JobState") == "FAILED", "the end")
        self.assertEqual(self.info("ExitCode"), "6:0", self.log())
        self.assertEqual(self.info("Restarts"), "0")


if __name__ == "__main__":
    if not has_slurm():
        print("no Slurm with two idle nodes that root may manage")
        sys.exit(77)  # skipped
    unittest.main()
