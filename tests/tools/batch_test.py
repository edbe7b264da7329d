#!/usr/bin/env python3
"""deploy/slurm/gentrain.sbatch and `gentrain submit` without Slurm: srun, scontrol and sbatch are played
(tests/tools/fake_mpirun.py stands for the ranks). tests/tools/slurm_test.py has the real ones.

usage: GENTRAIN=PROGRAM batch_test.py [CLASS...]
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

PROGRAM = os.environ.get("GENTRAIN", "gentrain")
TOOLS = Path(__file__).parent
SCRIPT = TOOLS.parents[1] / "deploy" / "slurm" / "gentrain.sbatch"
JOB = "batch: {global: 32, shards: 8}\ndata: {source: digits, train_count: 64, test_count: 16}\nmodel: lenet\nstop: {steps: 9}\noutput: run\n"
SRUN = f"""#!/bin/sh
[ "$1" != --mpi=list ] || {{ echo "MPI plugin types are..."; echo "	$PLUGIN"; exit; }}
echo "${{SRUN_CPUS_PER_TASK-none}}" >"$0.cpus"
exec {TOOLS / "fake_mpirun.py"} "$@"
"""
SCONTROL = """#!/bin/sh
echo "$@" >>"$0.log"
[ -z "$REFUSED" ] || exit 1
kill -KILL $PPID
"""
SBATCH = '#!/bin/sh\ncp "$1" "$0.script"; echo "Submitted batch job 7"; exit ${CODE:-0}\n'
REQUEUED = -signal.SIGKILL


class BatchTest(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="gentrain_batch_test_"))
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "job.yaml").write_text(JOB, encoding="utf-8")
        (self.folder / "bin").mkdir()
        for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("sbatch", SBATCH)):
            (self.folder / "bin" / name).write_text(text, encoding="utf-8")
            (self.folder / "bin" / name).chmod(0o755)
        self.acts = self.folder / "acts.json"
        self.restarts = 0

    def environment(self, **more):
        return {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "GENTRAIN": PROGRAM,
                "PLUGIN": "pmix_v4", "SLURM_JOB_ID": "7", "SLURM_NTASKS": "2",
                "SLURM_RESTART_COUNT": str(self.restarts), "FAKE_ACTS": str(self.acts),
                "FAKE_OUTPUT": str(self.folder / "run"), **more}

    def start(self, act, *options, **environment):
        """The script under way, as Slurm starts it."""
        self.acts.write_text(json.dumps([act]), encoding="utf-8")
        process = subprocess.Popen(
            ["bash", SCRIPT, "job.yaml", *options], cwd=self.folder, env=self.environment(**environment),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        self.addCleanup(process.stdout.close)
        self.restarts += 1
        return process

    def run_script(self, act, *options, **environment):
        """(exit code, output) of a whole start."""
        process = self.start(act, *options, **environment)
        output, _ = process.communicate(timeout=30)
        return process.returncode, output

    def arguments(self):
        """Those of the ranks at each start, behind the job."""
        lines = Path(f"{self.acts}.log").read_text(encoding="utf-8").splitlines()
        words = [json.loads(line)["argv"] for line in lines]
        return [argv[argv.index("job.yaml") + 1:] for argv in words]


RUNNING = {"state": "running", "step": 0}


class Script(BatchTest):
    def test_a_finished_run_is_not_requeued(self):
        code, output = self.run_script({"status": {"state": "finished", "step": 9}})
        self.assertEqual(code, 0, output)
        self.assertFalse((self.folder / "bin" / "scontrol.log").exists())

    def test_what_a_restart_does_not_mend(self):
        for failed in (2, 3, 4, 6):
            for code in (failed, 143):  # srun may give the code of a rank that it killed
                with self.subTest(failed=failed, code=code):
                    got, output = self.run_script({"exit": code, "status": {
                        "state": "failed", "exit": failed, "step": 1}})
                    self.assertEqual(got, failed, output)
                    self.assertIn("nothing that another start would mend", output)

    def test_an_error_of_an_earlier_start_does_not_count(self):
        self.run_script({"exit": 3, "status": {"state": "failed", "exit": 3, "step": 1}})
        code, output = self.run_script({"exit": 137})
        self.assertEqual(code, REQUEUED, output)

    def test_other_endings_are_requeued(self):
        for code in (0, 1, 5, 75, 137, 143, 205):
            with self.subTest(code=code):
                got, output = self.run_script({"status": {"state": "running", "step": code + 1},
                                               "exit": code})
                self.assertEqual(got, REQUEUED, output)
                self.assertRegex(output, rf"exit code {code} at step {code + 1}: requeued \(0 of 3")
        log = (self.folder / "bin" / "scontrol.log").read_text(encoding="utf-8")
        self.assertEqual(log, "requeue 7\n" * 7)

    def test_gives_up_without_progress(self):
        act = {"status": RUNNING, "touch": ["checkpoints/step-000000012.h5"], "exit": 137}
        for count in (0, 1, 2):
            code, output = self.run_script(act, GENTRAIN_MAX_RESTARTS="2")
            self.assertEqual(code, REQUEUED, output)
            self.assertIn(f"at step 12: requeued ({count} of 2 without progress)", output)
        code, output = self.run_script(act, GENTRAIN_MAX_RESTARTS="2")
        self.assertEqual(code, 137, output)
        self.assertIn("gave up at step 12: 2 requeues in a row made no progress", output)
        # Another job begins to count anew.
        self.assertEqual(self.run_script(act, GENTRAIN_MAX_RESTARTS="2", SLURM_JOB_ID="8")[0], REQUEUED)

    def test_0_without_a_finished_run_does_not_end_with_0(self):
        act = {"status": RUNNING, "exit": 0}
        code, output = self.run_script(act, REFUSED="1")
        self.assertEqual(code, 1, output)
        self.assertIn("exit code 0 at step 0: requeued", output)
        code, output = self.run_script(act, GENTRAIN_MAX_RESTARTS="0")
        self.assertEqual(code, 1, output)
        self.assertIn("gave up at step 0", output)

    def test_srun_is_told_the_cores_of_a_rank(self):
        for cores, told in (({}, "none"), ({"SLURM_CPUS_PER_TASK": "4"}, "4")):
            self.run_script({"status": {"state": "finished"}}, **cores)
            self.assertEqual((self.folder / "bin" / "srun.cpus").read_text(encoding="utf-8"), told + "\n")

    def test_signals_before_the_ranks_start(self):
        slow = self.folder / "bin" / "slow"
        slow.write_text(f'#!/bin/sh\ntouch "$0.up"; sleep 0.5; exec "{PROGRAM}" "$@"\n', encoding="utf-8")
        slow.chmod(0o755)
        for number, code, text in ((signal.SIGUSR1, REQUEUED, "exit code 75 at step 0: requeued"),
                                   (signal.SIGTERM, 75, "exit code 75 after Slurm's SIGTERM")):
            with self.subTest(signal=number):
                Path(f"{slow}.up").unlink(missing_ok=True)
                process = self.start({"status": RUNNING}, GENTRAIN=str(slow))
                while not Path(f"{slow}.up").exists():
                    time.sleep(0.01)
                process.send_signal(number)
                output, _ = process.communicate(timeout=30)
                self.assertEqual(process.returncode, code, output)
                self.assertIn(text, output)
                self.assertFalse(Path(f"{self.acts}.log").exists(), "ranks were started")

    def test_options_of_the_first_start(self):
        options = ["--overwrite", "--resume", "never", "--set", "seed=3", "--quiet"]
        self.run_script({"exit": 137}, *options)
        self.run_script({"status": RUNNING, "exit": 137}, *options)
        self.run_script({"status": {"state": "finished"}}, *options)
        first = ["--set", "seed=3", "--quiet", "--overwrite", "--resume", "never"]
        self.assertEqual(self.arguments(), [first, first, ["--set", "seed=3", "--quiet", "--resume", "auto"]])

    def test_the_signal_before_the_time_limit(self):
        process = self.start({"status": RUNNING, "stdout": "up\n", "usr1": 75})
        lines = iter(process.stdout.readline, "")
        next(line for line in lines if line == "up\n")
        process.send_signal(signal.SIGUSR1)
        output = "".join(lines)
        self.assertEqual(process.wait(20), REQUEUED, output)
        self.assertIn("exit code 75 at step 7: requeued (0 of 3", output)

    def test_scancel(self):
        process = self.start({"status": RUNNING, "stdout": "up\n", "sleep": 1, "exit": 75})
        next(line for line in iter(process.stdout.readline, "") if line == "up\n")
        process.terminate()
        output = process.stdout.read()
        self.assertEqual(process.wait(20), 75, output)
        self.assertIn("exit code 75 after Slurm's SIGTERM", output)

    def test_a_refused_requeue(self):
        code, output = self.run_script({"status": RUNNING, "exit": 75}, REFUSED="1")
        self.assertEqual(code, 75, output)
        self.assertIn("cannot be requeued; the same sbatch command goes on", output)

    def test_without_pmix_mpirun_starts_the_ranks(self):
        shutil.copy(TOOLS / "fake_mpirun.py", self.folder / "bin" / "mpirun")
        code, output = self.run_script({"status": {"state": "finished", "step": 9}}, PLUGIN="pmi2")
        self.assertEqual(code, 0, output)
        self.assertEqual(self.arguments(), [[]])

    def test_wrong_jobs(self):
        code, output = self.run_script({}, "--set", "bach=1")
        self.assertEqual(code, 2, output)
        self.assertIn("unknown key 'bach'", output)
        code, output = self.run_script({}, SLURM_NTASKS="9")
        self.assertEqual(code, 2, output)
        self.assertIn("9 ranks but only 8 shards", output)
        result = subprocess.run(["bash", SCRIPT], env=self.environment(), capture_output=True, text=True,
                                check=False)
        self.assertEqual(result.returncode, 2)
        self.assertIn("the job is missing", result.stderr)


class Submit(BatchTest):
    def submit(self, *arguments, **environment):
        result = subprocess.run([PROGRAM, "submit", *arguments], cwd=self.folder, text=True, check=False,
                                env=self.environment(**environment), capture_output=True)
        return result.returncode, result.stdout + result.stderr

    def test_the_script(self):
        code, text = self.submit(
            "job.yaml", "--nodes", "2", "--ranks-per-node", "3", "--time", "1:00:00", "--partition", "p q",
            "--account", "a", "--signal-before", "90", "--max-restarts", "5", "--env", "X=it's",
            "--sbatch-option=nice=5", "--sbatch-option=exclusive", "--cpus-per-rank", "4", "--set", "seed=2", "--overwrite", "--print")
        self.assertEqual(code, 0, text)
        options = re.findall(r"^#SBATCH --(.*)$", text, re.MULTILINE)
        self.assertEqual(sorted(options), sorted([
            "requeue", "open-mode=append", "output=%x-%j.log", "job-name=job", "nodes=2",
            "ntasks-per-node=3", "signal=B:USR1@90", "cpus-per-task=4", "time=1:00:00", "partition='p q'",
            "account=a", "nice=5", "exclusive"]))
        self.assertIn("export GENTRAIN_MAX_RESTARTS=5\nexport X='it'\\''s'\n", text)
        self.assertIn("\nset -- job.yaml --set seed=2 --overwrite\n", text)
        (self.folder / "script").write_text(text, encoding="utf-8")
        self.assertEqual(subprocess.run(["bash", "-n", self.folder / "script"], check=False).returncode, 0)

    def test_it_runs_as_the_one_that_it_was_made_from(self):
        _, text = self.submit("job.yaml", "--nodes", "1", "--ranks-per-node", "2", "--print")
        (self.folder / "script").write_text(text, encoding="utf-8")
        self.acts.write_text(json.dumps([{"status": {"state": "finished", "step": 9}}]), encoding="utf-8")
        result = subprocess.run(["bash", "script"], cwd=self.folder, env=self.environment(),
                                capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertEqual(self.arguments(), [[]])

    def test_it_is_handed_to_sbatch(self):
        code, text = self.submit("job.yaml", "--nodes", "1", "--ranks-per-node", "2")
        self.assertEqual((code, text), (0, "Submitted batch job 7\n"))
        script = (self.folder / "bin" / "sbatch.script").read_text(encoding="utf-8")
        self.assertIn("\nset -- job.yaml\n", script)

    def test_refusals(self):
        size = ["--nodes", "2", "--ranks-per-node", "2"]
        for message, arguments in (
                ("--nodes is missing: gentrain submit JOB", ["job.yaml"]),
                ("--ranks-per-node is missing", ["job.yaml", "--nodes", "1"]),
                ("--nodes 0: at least 1 is needed", ["job.yaml", "--nodes", "0", *size[2:]]),
                ("2 nodes with 5 ranks each but only 8 shards",
                 ["job.yaml", "--nodes", "2", "--ranks-per-node", "5"]),
                ("--cpus-per-rank 0: at least 1", ["job.yaml", *size, "--cpus-per-rank", "0"]),
                ("--signal-before -1: at least 0", ["job.yaml", *size, "--signal-before=-1"]),
                ("--max-restarts -1: at least 0", ["job.yaml", *size, "--max-restarts=-1"]),
                ("--env X: needed: NAME=VALUE", ["job.yaml", *size, "--env", "X"]),
                ("--sbatch-option =x: needed: NAME or NAME=VALUE", ["job.yaml", *size, "--sbatch-option==x"]),
                ("the job is missing", size),
                ("unknown key 'bach'", ["job.yaml", *size, "--set", "bach=1"])):
            with self.subTest(arguments=arguments):
                code, text = self.submit(*arguments)
                self.assertEqual(code, 2, text)
                self.assertIn(message, text)

    def test_sbatch_that_fails(self):
        code, text = self.submit("job.yaml", "--nodes", "1", "--ranks-per-node", "2", CODE="4")
        self.assertEqual(code, 1, text)
        self.assertIn("sbatch did not take the job (exit code 4); --print shows the script", text)
        (self.folder / "bin" / "sbatch").unlink()
        code, text = self.submit("job.yaml", "--nodes", "1", "--ranks-per-node", "2",
                                 PATH=str(self.folder / "bin"))
        self.assertEqual(code, 4, text)
        self.assertIn("there is no sbatch on the PATH", text)


if __name__ == "__main__":
    unittest.main()
