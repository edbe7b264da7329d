#!/usr/bin/env python3
"""The watchdog over real ranks: who is dead, stopped or stuck is named within 10 seconds and the job
ends; who is slow goes on; killed jobs leave neither processes nor, after the next start, shared memory.

usage: watchdog_test.py --mpi-fault MPI_FAULT --gentrain GENTRAIN --mpirun MPIRUN [CASE...]
"""

import argparse
import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from program_runs import MARK, MPI_ENVIRONMENT, marked_processes, run

NAMED = 10.0     # seconds from a fault to the line that names the rank
DEADLOCK = 30.0  # the same where all wait for each other: 20 s and one per rank
ENDED = 5.0      # seconds from that line to the job's end: mpirun gives each rank 1 s to end by itself
PLACE = r"\([^();]+:\d+\)"
STUCK = rf"gentrain: rank 1 {PLACE} is stuck: no progress for [78]\.\d s in step 4, "
WAITED = (rf"gentrain: rank 0 {PLACE} has waited for [67]\.\d s in step \d, exchanging bucket \d+ for "
          rf"rank 1 {PLACE[:-2]}; step \d, ")

# case: (ranks, exit code, limit from the fault, what is printed; the first names the rank)
FAULTS = {
    "sleeps": (3, 5, NAMED, [STUCK + "computing", WAITED]),
    "spins": (3, 5, NAMED, [STUCK + "computing", WAITED]),
    "loader": (3, 5, NAMED, [STUCK + "computing"]),
    "driver": (3, 5, NAMED, [rf"rank 1 {PLACE} is stuck: no progress for [78]\.\d s in step \d, "]),
    "observer": (3, 5, NAMED, [STUCK + "after its exchange"]),
    "stopped": (3, 5, NAMED, [
        rf"gentrain: rank 1 {PLACE} is silent: no sign of life for 8\.\d s, the last one from "
        rf"step 4, computing; rank 2 {PLACE} waits in step 4, exchanging bucket \d+ for rank 1 "]),
    "deadlock": (3, 5, DEADLOCK, [
        rf"no rank has made progress for 2[34]\.\d s: rank \d {PLACE} waits in "]),
}
ALONE = {case: (1, 5, NAMED, [rf"gentrain: rank 0 {PLACE} is stuck: no progress for "
                              r"[78]\.\d s in step 4, computing"])
         for case in ("sleeps", "spins", "loader")}
FINE = {"paused": (3, 0, 60.0, ["trained"]), "slow": (3, 0, 60.0, ["trained"])}


def check_fault(arguments, case, expected):
    """Problems of one case of mpi_fault."""
    ranks, code, limit, patterns = expected
    result = run([arguments.mpi_fault, case], ranks, 110.0, mpirun=arguments.mpirun)
    ended = time.time()
    named = next((when for when, line in result.lines if re.search(patterns[0], line)), ended)
    problems = [f"'{pattern}' was not printed" for pattern in patterns
                if not re.search(pattern, result.output)]
    if result.code != code:
        problems.append(f"exit code {result.code}, {code} was expected")
    if result.survivors or "SURVIVED" in result.output:
        problems.append("a rank survived")
    if code == 0 and "gentrain:" in result.output:
        problems.append("a false alarm")
    fault = re.search(r"FAULT ([\d.]+)", result.output)
    seconds = named - float(fault.group(1)) if fault else float("inf")
    if seconds > limit:
        problems.append(f"{seconds:.1f} s from the fault to its naming, {limit} s are allowed")
    if ended - named > ENDED:
        problems.append(f"{ended - named:.1f} s from the naming to the end, {ENDED} s are allowed")
    return f"{seconds:.1f} s from the fault, the end {ended - named:.1f} s later", problems, result.output


def check_crowd(arguments):
    """16 ranks on the cores that there are: first step and evaluations without an alarm."""
    with tempfile.TemporaryDirectory() as folder:
        result = run([arguments.gentrain, "jobs/lenet_digits.yaml", "--set", f"output={folder}/run",
                      "--set", "stop.epochs=10"],
                     16, 110.0, cwd=arguments.root, mpirun=arguments.mpirun)
    problems = []
    if result.code != 0 or "finished" not in result.output:
        problems.append(f"exit code {result.code}")
    if "gentrain:" in result.output:
        problems.append("a false alarm")
    return f"{result.seconds:.1f} s", problems, result.output


def own_folders():
    return {path.name for path in Path("/dev/shm").glob(f"gentrain.{os.getuid()}.*")}


class Run:
    """A training run on three ranks in the middle of its steps."""

    def __init__(self, arguments, folder):
        self.mark = uuid.uuid4().hex
        self.output = Path(folder) / "run"
        self.process = subprocess.Popen(
            [arguments.mpirun, "-np", "3", "--oversubscribe", "--bind-to", "none", arguments.gentrain,
             "jobs/lenet_digits.yaml", "--set", f"output={self.output}"],
            cwd=arguments.root, env={**os.environ, **MPI_ENVIRONMENT, MARK: self.mark},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 60
        while not (self.output / "metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1)  # signs of life tell of it
        self.ranks = sorted(pid for pid in marked_processes(self.mark) if pid != self.process.pid)


def check_stopped_run(arguments):
    """A rank of a training run is stopped for good: the run's own files say so."""
    with tempfile.TemporaryDirectory() as folder:
        training = Run(arguments, folder)
        silent = re.compile(rf"^rank \d \([^();]+:{training.ranks[-1]}\) is silent: .* the last one from "
                            r"step \d+, \w+", re.MULTILINE)
        start = time.monotonic()
        os.kill(training.ranks[-1], signal.SIGSTOP)
        named = None
        while training.process.poll() is None and time.monotonic() < start + 60:
            time.sleep(0.1)
            log = (training.output / "log.txt").read_text()
            if named is None and silent.search(log):
                named = time.monotonic() - start
        code = training.process.wait(0.1)
        seconds = time.monotonic() - start
        status = json.loads((training.output / "status.json").read_text())
    problems = []
    if code != 5:
        problems.append(f"exit code {code}")
    if named is None:
        problems.append("log.txt does not say it")
    elif named > NAMED or seconds - named > ENDED:
        problems.append(f"{NAMED} s to its naming and {ENDED} s from there to the end are allowed")
    if status["state"] != "failed" or status["exit"] != 5 or status["step"] < 1:
        problems.append(f"status.json is {status}")
    when = "" if named is None else f", named after {named:.1f} s"
    return f"{seconds:.1f} s from the stop{when}", problems, log


def check_launcher_killed(arguments):
    """kill -9 of mpirun while one rank is stopped: no process is left, and the next start removes the
    shared memory."""
    before = own_folders()
    with tempfile.TemporaryDirectory() as folder:
        training = Run(arguments, folder)
        mark, process, ranks = training.mark, training.process, training.ranks
        left = own_folders() - before
        os.kill(ranks[0], signal.SIGSTOP)
        process.kill()
        process.wait()
        start = time.monotonic()
        while marked_processes(mark) and time.monotonic() < start + 5:
            time.sleep(0.05)
        seconds = time.monotonic() - start
    survivors = marked_processes(mark)
    for pid in survivors:
        os.kill(pid, signal.SIGKILL)
    problems = []
    if survivors:
        problems.append(f"{len(survivors)} ranks survived")
    if len(left) < 3:
        problems.append(f"{len(left)} folders of shared memory for 3 ranks")
    run([arguments.mpi_fault, "none"], 2, 30.0, mpirun=arguments.mpirun)
    if own_folders() & left:
        problems.append(f"the next start left {own_folders() & left}")
    return f"{seconds:.1f} s from the kill to the last rank's end", problems, ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mpi-fault", required=True)
    parser.add_argument("--gentrain", required=True)
    parser.add_argument("--mpirun", default="mpirun")
    parser.add_argument("cases", nargs="*")
    arguments = parser.parse_args()
    arguments.root = Path(__file__).parents[2]
    checks = {f"{case} on {expected[0]}": (check_fault, arguments, case, expected)
              for group in (FAULTS, ALONE, FINE) for case, expected in group.items()}
    last = {"crowd": check_crowd, "stopped run": check_stopped_run,
            "launcher killed": check_launcher_killed}
    wanted = [name for name in [*checks, *last]
              if not arguments.cases or name in arguments.cases]
    # Ranks that sleep or wait hardly use a core: several jobs at a time. The last ones need them all.
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        futures = {name: pool.submit(*checks[name]) for name in wanted if name in checks}
        results = {name: future.result() for name, future in futures.items()}
    results.update({name: last[name](arguments) for name in wanted if name in last})
    for name, (note, problems, output) in results.items():
        print(f"{'FAILED' if problems else 'ok'}: {name}, {note}")
        if problems:
            print("\n".join(problems), output, sep="\n")
    return 1 if any(problems for _, problems, _ in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
