#!/usr/bin/env python3
"""`gentrain launch`: every way an attempt can end, signals, restarts and their report, what is cleaned up.
Most with tests/tools/fake_mpirun.py in place of mpirun; some with the real one.

usage: GENTRAIN=PROGRAM MPIRUN=mpirun launch_test.py [CLASS...]
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

from program_runs import MARK, MPI_ENVIRONMENT, marked_processes

PROGRAM = os.environ.get("GENTRAIN", "gentrain")
MPIRUN = os.environ.get("MPIRUN", "mpirun")
FAKE = str(Path(__file__).with_name("fake_mpirun.py"))
JOB = """\
batch: {global: 32, shards: 8}
data: {source: digits, train_count: 640, test_count: 16}
model: lenet
stop: {steps: 3}
threads: 1
output: run
"""
FINISHED = {"state": "finished", "step": 3}
RUNNING = {"state": "running", "step": 0}
KILLED = ("-" * 74 + "\nmpirun noticed that process rank 2 with PID 0 on node n7 exited on signal 9 (Killed).\n"
          + "-" * 74 + "\n")
LOST = ("-" * 74 + "\nORTE has lost communication with a remote daemon.\n\n"
        "  HNP daemon   : [[1,0],0] on node n1\n  Remote daemon: [[1,0],1] on node n2\n\n" + "-" * 74 + "\n")
UNREACHED = ("-" * 60 + "\nA process or daemon was unable to complete a TCP connection\nto another process:\n"
             "  Local host:    n3\n  Remote host:   n1\n" + "-" * 60 + "\n")


def is_alive(pid):
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False


class Launch:
    """A launcher under way; its lines can be waited for."""

    def __init__(self, arguments, folder, environment, read):
        self.mark = os.urandom(8).hex()
        self.folder = folder
        self.lines = []
        self.news = threading.Condition()
        temporary = folder / "tmp"
        temporary.mkdir(exist_ok=True)
        self.temporary = temporary
        self.process = subprocess.Popen(
            [PROGRAM, "launch", *arguments], cwd=folder, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace",
            env={**os.environ, **MPI_ENVIRONMENT, "TMPDIR": str(temporary), MARK: self.mark, **environment})
        self.reader = threading.Thread(target=self.read)
        if read:
            self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append(line.rstrip("\n"))
                self.news.notify_all()

    def wait_for(self, pattern, limit=10.0):
        """The match of the first line with `pattern`; an AssertionError if none comes in time."""
        end = time.monotonic() + limit
        with self.news:
            while True:
                for line in self.lines:
                    if match := re.search(pattern, line):
                        return match
                if not self.news.wait(end - time.monotonic()) or time.monotonic() > end:
                    raise AssertionError(f"no line '{pattern}' within {limit} s:\n{self.output}")

    @property
    def output(self):
        return "\n".join(self.lines)

    def end(self, limit=30.0):
        """Its exit code."""
        self.process.wait(limit)
        self.reader.join(limit)
        return self.process.returncode

    def kill_all(self):
        for pid in [self.process.pid, *marked_processes(self.mark)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        if self.reader.ident:
            self.reader.join()
        self.process.stdout.close()


class LaunchTest(unittest.TestCase):
    """A folder of its own with a job in it; nothing may be left behind."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="gentrain_launch_test_"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.output = self.folder / "run"
        (self.folder / "job.yaml").write_text(JOB, encoding="utf-8")

    def start(self, *arguments, read=True, **environment):
        launch = Launch(arguments, self.folder, environment, read)
        self.addCleanup(launch.kill_all)
        return launch

    def play(self, acts, *options, ranks=2, read=True):
        """Starts the launcher with the fake mpirun."""
        acts_file = self.folder / "acts.json"
        acts_file.write_text(json.dumps(acts), encoding="utf-8")
        self.log = Path(f"{acts_file}.log")
        self.log.unlink(missing_ok=True)
        return self.start("-np", str(ranks), "job.yaml", "--mpirun", FAKE, *options, read=read,
                          FAKE_ACTS=str(acts_file), FAKE_OUTPUT=str(self.output))

    def started(self):
        """What the fake mpirun was started with, one entry a start."""
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    def assert_ends(self, launch, code, *patterns):
        self.assertEqual(launch.end(), code, launch.output)
        for pattern in patterns:
            self.assertRegex(launch.output, pattern)
        self.assertEqual(marked_processes(launch.mark), [], "processes were left behind")
        self.assertEqual(list(launch.temporary.iterdir()), [], "files were left behind")


class Endings(LaunchTest):
    def test_a_finished_run(self):
        launch = self.play([{"status": FINISHED, "stdout": "a line\n"}], "--overwrite", "--set", "seed=4",
                           "--quiet")
        self.assert_ends(launch, 0)
        self.assertEqual(launch.lines, ["a line"])
        [start] = self.started()
        self.assertEqual(start["restarts"], "0")
        self.assertEqual(start["argv"][-5:], ["job.yaml", "--set", "seed=4", "--quiet", "--overwrite"])

    def test_errors_that_a_restart_does_not_mend(self):
        for code in (2, 3, 4, 6):
            with self.subTest(code=code):
                launch = self.play([{"status": RUNNING, "exit": code}])
                self.assert_ends(launch, code)
                self.assertEqual(len(self.started()), 1)

    def test_what_is_restarted(self):
        for act, what in (({"exit": 5}, r"the ranks ended \(exit code 5\)"),
                          ({"exit": 137, "stderr": KILLED},
                           r"rank 2 on n7 was killed by signal 9 \(Killed\) \(exit code 137\)"),
                          ({"exit": 139}, r"the ranks ended \(exit code 139\)"),
                          ({"exit": 205, "stderr": LOST}, r"host n2 was lost \(exit code 205\)"),
                          ({"exit": 1}, r"the ranks ended \(exit code 1\)"),
                          ({"exit": 1, "stdout": UNREACHED}, r"host n3 was lost \(exit code 1\)"),
                          ({"exit": 0}, r"the ranks ended without finishing \(exit code 0\)"),
                          ({"signal": 9}, r"mpirun was killed by signal 9 \(exit code 137\)")):
            with self.subTest(act=act):
                launch = self.play([{"status": RUNNING, **act}, {"status": FINISHED}])
                self.assert_ends(launch, 0, f"launch: {what} after .* s: restart 1 \\(0 of 3 without "
                                 "progress\\) from the beginning: there is no checkpoint yet")
                self.assertNotRegex(launch.output, "mpirun noticed|-{70}|ORTE")
                self.assertEqual([start["restarts"] for start in self.started()], ["0", "1"])

    def test_texts_of_mpirun_on_demand(self):
        launch = self.play([{"status": RUNNING, "exit": 137, "stderr": KILLED}, {"status": FINISHED}],
                           "--mpirun-texts")
        self.assert_ends(launch, 0, "mpirun noticed that process rank 2")

    def test_other_texts_of_mpirun_are_shown(self):
        launch = self.play([{"exit": 1, "stderr": "There are not enough slots available\n"}],
                           "--max-restarts", "0")
        self.assert_ends(launch, 1, "There are not enough slots", "gave up: 0 restarts in a row made no")


class Restarts(LaunchTest):
    def test_gives_up_with_a_report(self):
        launch = self.play([{"status": RUNNING, "exit": 5, "stderr": "gentrain: rank 1 (n1:7): no\n"}],
                           "--max-restarts", "2")
        self.assert_ends(launch, 5, "launch: gave up: 2 restarts in a row made no progress",
                         r"launch: attempt 1: the ranks ended \(exit code 5\) after .* s, at step 0; "
                         r"last error: gentrain: rank 1 \(n1:7\): no", "launch: attempt 3: ")
        starts = self.started()
        self.assertEqual(len(starts), 3)
        self.assertGreater(starts[2]["time"] - starts[1]["time"], 0.9)  # after a pause

    def test_progress_is_a_new_step(self):
        acts = [{"status": {"state": "running", "step": 2}, "exit": 5},
                {"status": RUNNING, "touch": ["checkpoints/step-000000004.h5"], "exit": 5},
                {"status": {"state": "failed", "step": 9}, "exit": 5},
                {"status": {"state": "failed", "step": 9}, "exit": 5}]
        launch = self.play(acts, "--max-restarts", "1")
        self.assert_ends(launch, 5, "gave up: 1 restart in a row made no progress",
                         r"restart 3 \(0 of 1 without progress\) from run/checkpoints/step-000000004.h5")
        self.assertEqual(len(self.started()), 4)

    def test_options_of_the_first_start_are_not_repeated_once_the_run_began(self):
        launch = self.play([{"exit": 5}, {"status": RUNNING, "exit": 5}, {"status": FINISHED}],
                           "--overwrite", "--resume", "never")
        self.assert_ends(launch, 0, r"restart 1 \(0 of 3 without progress\) starting again: training had "
                         "not begun")
        words = [start["argv"][start["argv"].index("job.yaml") + 1:] for start in self.started()]
        self.assertEqual(words, [["--overwrite", "--resume", "never"]] * 2 + [["--resume", "auto"]])

    def test_processes_that_outlive_mpirun_go(self):
        launch = self.play([{"status": RUNNING, "child": 1, "signal": 9}, {"status": FINISHED}])
        child = int(launch.wait_for(r"child (\d+)")[1])
        self.assert_ends(launch, 0)
        self.assertFalse(is_alive(child))

    def test_stopped_processes(self):
        for stop, begun, what in (("child", {}, r"process \d+ was stopped before training began"),
                                  ("self", {"status": RUNNING}, "mpirun is stopped")):
            with self.subTest(stop=stop):
                launch = self.play([{"child": 1, "stop": stop, "sleep": 60, **begun},
                                    {"status": FINISHED}])
                self.assert_ends(launch, 0, f"launch: {what}: ending all ranks", f"{what} .*: restart 1")

    def test_an_mpirun_that_hangs_behind_its_ranks(self):
        launch = self.play([{"child": 1, "child_for": 2, "status": RUNNING, "sleep": 60}, {"status": FINISHED}])
        self.assert_ends(launch, 0, "launch: mpirun hangs, its ranks have ended: ending all ranks",
                         "mpirun hangs, its ranks have ended .*: restart 1")

    def test_an_mpirun_that_waits_for_a_lost_host_behind_its_ranks(self):
        abort = "MPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD\nwith errorcode 6.\n"
        launch = self.play([{"child": 1, "status": RUNNING, "sleep": 13, "exit": 5},  # it is only slow
                            {"child": 1, "status": RUNNING, "stderr": abort, "sleep": 60}])
        self.assert_ends(launch, 6, r"exit code 5\) after 1[3-9].* s: restart 1", "mpirun hangs, its ranks have")

    def test_what_a_killed_launcher_left_goes_at_the_next_start(self):
        launch = self.play([{"status": RUNNING, "child": 1, "usr1": "ignore"}])
        child = int(launch.wait_for(r"child (\d+)")[1])
        launch.process.kill()
        launch.process.wait()
        self.assertTrue(is_alive(child))
        self.assertEqual(len(list(launch.temporary.iterdir())), 1)
        self.assert_ends(self.play([{"status": FINISHED}]), 0)
        self.assertFalse(is_alive(child))


class Requests(LaunchTest):
    def test_signals_are_passed_on(self):
        for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP"):
            with self.subTest(signal=name):
                launch = self.play([{"status": RUNNING, "stdout": "up\n", "usr1": 75}])
                launch.wait_for("up")
                launch.process.send_signal(getattr(signal, name))
                self.assert_ends(launch, 75, f"launch: {name}: the ranks finish their step and write a "
                                 "checkpoint", "launch: ended on request; the same command goes on")
                self.assertEqual(len(self.started()), 1)

    def test_a_request_to_a_rank_is_passed_on(self):
        launch = self.play([{"status": RUNNING, "touch": ["checkpoints/step-000000004.h5"], "exit": 75}])
        self.assert_ends(launch, 75, "the same command goes on from run/checkpoints/step-000000004.h5")

    def test_before_training_began(self):
        launch = self.play([{"stdout": "up\n", "sleep": 60}])
        launch.wait_for("up")
        launch.process.terminate()
        self.assert_ends(launch, 75, "launch: SIGTERM came before training began: ending all ranks")

    def test_a_second_signal_ends_at_once(self):
        launch = self.play([{"status": RUNNING, "stdout": "up\n", "usr1": "ignore", "child": 1}])
        launch.wait_for("child")
        launch.process.send_signal(signal.SIGINT)
        launch.wait_for("SIGINT: the ranks")
        launch.process.send_signal(signal.SIGINT)
        self.assert_ends(launch, 130, r"a second signal \(SIGINT\): ending all ranks")

    def test_further_signals_do_not_put_the_end_off(self):
        launch = self.play([{"status": RUNNING, "stdout": "up\n", "usr1": "ignore", "term": "ignore"}])
        launch.wait_for("up")
        for _ in range(40):
            if launch.process.poll() is not None:
                break
            launch.process.send_signal(signal.SIGINT)
            time.sleep(0.5)
        else:
            self.fail("it did not end while signals came")
        self.assert_ends(launch, 130)

    def test_nobody_reads_what_is_printed(self):
        launch = self.play([{"status": RUNNING, "stdout": "up\n" + "a line\n" * 30000, "usr1": "ignore"}],
                           read=False)
        while not (self.output / "status.json").exists():
            time.sleep(0.01)
        time.sleep(0.5)  # by now the pipe is full, or it will be
        launch.process.terminate()
        time.sleep(0.5)
        launch.process.send_signal(signal.SIGINT)
        self.assertIn(launch.process.wait(20), (130, 143))

    def test_a_slow_reader_gets_everything(self):
        launch = self.play([{"status": FINISHED, "stdout": "a line\n" * 50000}], read=False)
        while not (self.output / "status.json").exists():
            time.sleep(0.01)
        time.sleep(2)
        launch.reader.start()
        self.assert_ends(launch, 0)
        self.assertEqual(launch.lines, ["a line"] * 50000)

    def test_ranks_that_do_not_end(self):
        launch = self.play([{"status": RUNNING, "stdout": "up\n", "usr1": "ignore"}], "--grace", "0.5")
        launch.wait_for("up")
        launch.process.terminate()
        self.assert_ends(launch, 137, "the ranks did not end within 0.5 s of the request: ending all")

    def test_during_a_pause(self):
        launch = self.play([{"status": RUNNING, "exit": 5}], "--max-restarts", "9")
        launch.wait_for("restart 4")
        launch.process.terminate()
        self.assert_ends(launch, 75, "SIGTERM came before the restart: ended on request")


class Hosts(LaunchTest):
    def setUp(self):
        super().setUp()
        self.shell = self.folder / "shell"
        self.shell.write_text('#!/bin/sh\n[ "$1" = n1 ] || [ -e "$0.$1" ]\n', encoding="utf-8")
        self.shell.chmod(0o755)

    def hosts(self):
        """(-np, --host) of each start."""
        words = [start["argv"] for start in self.started()]
        return [(argv[argv.index("-np") + 1], argv[argv.index("--host") + 1]) for argv in words]

    def test_lost_hosts_are_left_out_and_come_back(self):
        (self.folder / "shell.n3").touch()
        acts = [{"status": RUNNING, "exit": 205, "stderr": LOST},
                {"status": {"state": "running", "step": 1}, "exit": 5, "touch": ["../shell.n2"]},
                {"status": FINISHED}]
        launch = self.play(acts, "-H", "n1:2,n2:3,n3:1", "--remote-shell", str(self.shell), ranks=6)
        self.assert_ends(launch, 0, r"host n2 was lost \(exit code 205\)",
                         "launch: host n2 does not answer and is left out; ranks: 3",
                         "launch: host n2 answers again and is taken back; ranks: 6")
        self.assertEqual(self.hosts(), [("6", "n1:2,n2:3,n3:1"), ("3", "n1:2,n3:1"),
                                        ("6", "n1:2,n2:3,n3:1")])

    def test_no_host_is_left(self):
        launch = self.play([{"status": RUNNING, "exit": 205, "stderr": LOST}], "-H", "n2:1,n3:1",
                           "--remote-shell", str(self.shell), "--max-restarts", "2")
        self.assert_ends(launch, 205, r"attempt 3: no host answers \(exit code 205\)")
        self.assertEqual(len(self.started()), 1)

    def test_all_slots_are_the_default(self):
        launch = self.play([{"status": FINISHED}], "-H", "n1:2,n1", "--remote-shell", str(self.shell))
        self.assert_ends(launch, 0)
        launch = self.start("-H", "n1:2,n1", "job.yaml", "--mpirun", FAKE, "--remote-shell",
                            str(self.shell), FAKE_ACTS=str(self.folder / "acts.json"),
                            FAKE_OUTPUT=str(self.output))
        self.assert_ends(launch, 0)
        self.assertEqual(self.hosts(), [("2", "n1:3"), ("3", "n1:3")])


class RealRanks(LaunchTest):
    """With mpirun itself and a run that goes on for a while."""

    def train(self, *options):
        return self.start("-np", "4", "job.yaml", "--mpirun", MPIRUN, "--set", "stop.steps=2000", "--set",
                          "checkpoint.every=20", *options)

    def summary(self, output):
        return json.loads((self.folder / output / "summary.json").read_text(encoding="utf-8"))

    def wait_for_step(self, step, limit=20.0):
        """Waits until metrics.jsonl tells of a step from `step` on; the number of its last one."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            try:
                lines = (self.output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
                last = json.loads(lines[-1])["step"]
                if last >= step:
                    return last
            except (OSError, IndexError, ValueError):
                pass
            time.sleep(0.01)
        raise AssertionError(f"no step {step} within {limit} s")

    def ranks(self, launch):
        """Process numbers of the ranks by rank."""
        found = {}
        for pid in marked_processes(launch.mark):
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            for variable in variables:
                if variable.startswith(b"OMPI_COMM_WORLD_RANK="):
                    found[int(variable.split(b"=")[1])] = pid
        return found

    def segments(self, pids):
        """Folders of shared memory of these processes."""
        return [path.name for path in Path("/dev/shm").glob(f"gentrain.{os.getuid()}.*")
                if int(path.name.split(".")[3]) in pids]

    def test_a_killed_rank(self):
        launch = self.train()
        self.wait_for_step(30)
        ranks = self.ranks(launch)
        self.assertEqual(len(self.segments(ranks.values())), 4)
        os.kill(ranks[3], signal.SIGKILL)
        killed = time.monotonic()
        launch.wait_for(r"rank 3 on \S+ was killed by signal 9 .*: restart 1")
        reported = time.monotonic() - killed
        last = self.wait_for_step(30)
        self.wait_for_step(last + 1)
        seconds = time.monotonic() - killed
        print(f"killed, reported after {reported:.2f} s, new steps after {seconds:.2f} s")
        self.assertLess(seconds, 10, "4 s are the goal on a quiet machine")
        self.assertEqual(self.segments(ranks.values()), [])
        self.assert_ends(launch, 0)
        summary = self.summary("run")
        self.assertEqual(summary["restarts"], 1)
        self.assertEqual(self.train("--set", "output=straight").end(), 0)
        self.assertEqual(summary["state_sha256"], self.summary("straight")["state_sha256"])

    def test_a_killed_mpirun(self):
        launch = self.train()
        self.wait_for_step(30)
        ranks = self.ranks(launch)
        parent = int(Path(f"/proc/{ranks[0]}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
        os.kill(parent, signal.SIGKILL)
        launch.wait_for("mpirun was killed by signal 9 .*: restart 1")
        self.assert_ends(launch, 0)
        self.assertEqual(self.segments(ranks.values()), [])

    def test_a_refused_one_leaves_the_run_alone(self):
        endless = ("--set", "stop.steps=1000000")
        launch = self.train(*endless)
        self.wait_for_step(30)
        # As if it were being written just now.
        temporary = self.output / "checkpoints" / ".step-000000002.h5.7-1.tmp"
        temporary.touch()
        second = self.train(*endless)
        self.assertEqual(second.end(), 3, second.output)
        self.assertTrue(temporary.exists())
        launch.process.terminate()
        self.assert_ends(launch, 75)

    def test_a_request(self):
        launch = self.train()
        self.wait_for_step(30)
        launch.process.terminate()
        self.assert_ends(launch, 75, "the same command goes on from run/checkpoints/step-")
        launch = self.train()
        self.assert_ends(launch, 0)


class Refusals(LaunchTest):
    def refused(self, code, message, *arguments, **environment):
        launch = self.start(*arguments, **environment)
        self.assertEqual(launch.end(), code, launch.output)
        self.assertRegex(launch.output, message)
        self.assertEqual(list(launch.temporary.iterdir()), [])

    def test_command_lines(self):
        for message, arguments in (
                ("the number of ranks is missing: gentrain launch -np N JOB", ["job.yaml"]),
                ("-np 0: at least 1 is needed", ["-np", "0", "job.yaml"]),
                ("the job is missing", ["-np", "2"]),
                ("9 ranks but only 8 shards", ["-np", "9", "job.yaml"]),
                ("--max-restarts -1: at least 0 is needed", ["-np", "2", "job.yaml", "--max-restarts=-1"]),
                ("--grace -2: needed: seconds, from 0 on", ["-np", "2", "job.yaml", "--grace=-2"]),
                ("-H n1:x: 'x' slots of n1; needed: a number from 1 on", ["-H", "n1:x", "job.yaml"]),
                ("-H n1,,n2: a host without a name", ["-H", "n1,,n2", "job.yaml"]),
                ("unknown key 'bach'", ["-np", "2", "job.yaml", "--set", "bach=1"]),
                ("nowhere.yaml", ["-np", "2", "nowhere.yaml"])):
            with self.subTest(arguments=arguments):
                self.refused(2, message, *arguments, "--mpirun", FAKE)

    def test_no_mpirun(self):
        self.refused(4, "/nowhere/mpirun cannot be started: No such file", "-np", "2", "job.yaml",
                     "--mpirun", "/nowhere/mpirun")
        self.refused(4, "there is no mpirun on the PATH", "-np", "2", "job.yaml", PATH="/nowhere")

    def test_under_another_launcher(self):
        self.refused(2, "gentrain launch starts mpirun itself and was started by mpirun", "-np", "2",
                     "job.yaml", OMPI_COMM_WORLD_SIZE="2")
        self.refused(2, "was started by srun", "-np", "2", "job.yaml", SLURM_STEP_ID="0",
                     SLURM_PROCID="0", SLURM_STEP_NUM_TASKS="2")

    def test_restarts_belong_to_the_launcher(self):
        result = subprocess.run([PROGRAM, "job.yaml", "--max-restarts", "2"], cwd=self.folder, text=True,
                                capture_output=True, check=False)
        self.assertEqual(result.returncode, 2)
        self.assertIn("`gentrain launch -np N JOB --max-restarts K`", result.stderr)


if __name__ == "__main__":
    unittest.main()
