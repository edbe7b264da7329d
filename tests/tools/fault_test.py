#!/usr/bin/env python3
"""A rank that fails in the middle of a step ends the job: on all ranks, soon, with the right code.

usage: fault_test.py --program MPI_FAULT --mpirun MPIRUN
"""

import argparse
import sys

from program_runs import run

LIMIT = 10.0
RANKS = 3
CASES = {  # case: (exit codes, what is printed)
    "none": ({0}, "trained"),
    "worker": ({3}, "rank 1: sample 17 of data.h5 cannot be read"),
    "exchange": ({5}, "rank 1: a message to rank 2 was lost"),
    "killed": (set(range(1, 256)), "signal 9"),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--mpirun", default="mpirun")
    arguments = parser.parse_args()
    failed = 0
    for case, (codes, message) in CASES.items():
        result = run([arguments.program, case], RANKS, LIMIT, mpirun=arguments.mpirun)
        good = (result.code in codes and message in result.output and not result.survivors
                and "SURVIVED" not in result.output)
        failed += not good
        print(f"{'ok' if good else 'FAILED'}: {case}, {result.seconds:.1f} s")
        if not good:
            print(result)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
