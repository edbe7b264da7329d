#!/usr/bin/env python3
"""The watchdog over real ranks: who is dead, stopped or stuck is named within 10 seconds and the job
ends; who is slow goes on; killed jobs leave neither processes nor, after the next start, shared memory.

usage: watchdog_test.py --mpi-fault MPI_FAULT --gentrain GENTRAIN --mpirun MPIRUN [CASE...]
"""

import argparse
import concurrent.futures
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

NAMED = 10.0     # seconds from a fault to the job's end
DEADLOCK = 30.0  # the same where all wait for each other: 20 s and one per rank
PLACE = r"\([^();]+:\d+\)"
STUCK = rf"gentrain: rank 1 {PLACE} is stuck: no progress for [78]\.\d s in step 4, "
WAITED = (rf"gentrain: rank 0 {PLACE} has waited for [67]\.\d s in step \d, exchanging bucket \d+ for "
          rf"rank 1 {PLACE[:-2]}; step \d, ")

# case: (ranks, exit code, limit from the fault, what is printed)
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
    problems = [f"'{pattern}' was not printed" for pattern in patterns
                if not re.search(pattern, result.output)]
    if result.code != code:
        problems.append(f"exit code {result.code}, {code} was expected")
    if result.survivors or "SURVIVED" in result.output:
        problems.append("a rank survived")
    if code == 0 and "gentrain:" in result.output:
        problems.append("a false alarm")
    fault = re.search(r"FAULT ([\d.]+)", result.output)
    seconds = ended - float(fault.group(1)) if fault else float("inf")
    if seconds > limit:
        problems.append(f"{seconds:.1f} s from the fault to the end, {limit} s are allowed")
    return f"{seconds:.1f} s from the fault", problems, result.output


def check_crowd(arguments):
    """16 ranks on the cores that there are: first step and evaluations without an alarm."""
    with tempfile.TemporaryDirectory() as folder:
        result = run([arguments.gentrain, "jobs/lenet_digits.yaml", "--set", f"output={folder}/run",
                      "--set", "stop.epochs=3", "--set", "data.train_count=4000",
                      "--set", "batch.global=256"],
                     16, 110.0, cwd=arguments.root, mpirun=arguments.mpirun)
    problems = []
    if result.code != 0 or "finished" not in result.output:
        problems.append(f"exit code {result.code}")
    if "gentrain:" in result.output:
        problems.append("a false alarm")
    return f"{result.seconds:.1f} s", problems, result.output


def own_folders():
    return {path.name for path in Path("/dev/shm").glob(f"gentrain.{os.getuid()}.*")}


def check_launcher_killed(arguments):
    """kill -9 of mpirun while one rank is stopped: no process is left, and the next start removes the
    shared memory."""
    before = own_folders()
    mark = uuid.uuid4().hex
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [arguments.mpirun, "-np", "3", "--oversubscribe", "--bind-to", "none", arguments.gentrain,
             "jobs/lenet_digits.yaml", "--set", f"output={folder}/run"],
            cwd=arguments.root, env={**os.environ, **MPI_ENVIRONMENT, MARK: mark},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        metrics = Path(folder) / "run" / "metrics.jsonl"
        deadline = time.monotonic() + 60
        while not metrics.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        left = own_folders() - before
        ranks = sorted(pid for pid in marked_processes(mark) if pid != process.pid)
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
    wanted = [name for name in [*checks, "crowd", "launcher killed"]
              if not arguments.cases or name in arguments.cases]
    # Ranks that sleep or wait hardly use a core: several jobs at a time. The crowd needs them all.
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        futures = {name: pool.submit(*checks[name]) for name in wanted if name in checks}
        results = {name: future.result() for name, future in futures.items()}
    if "crowd" in wanted:
        results["crowd"] = check_crowd(arguments)
    if "launcher killed" in wanted:
        results["launcher killed"] = check_launcher_killed(arguments)
    for name, (note, problems, output) in results.items():
        print(f"{'FAILED' if problems else 'ok'}: {name}, {note}")
        if problems:
            print("\n".join(problems), output, sep="\n")
    return 1 if any(problems for _, problems, _ in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
