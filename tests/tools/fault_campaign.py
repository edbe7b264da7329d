#!/usr/bin/env python3
"""Random faults over runs of LeNet, a variational autoencoder or SRGAN: whatever struck, the run goes on, on other
ranks and threads, and ends with the bytes of one that was never disturbed; nothing is left behind.

usage: fault_campaign.py --program GENTRAIN [--mpirun MPIRUN] [--job NAME] [--precision f32|bf16_emulated]
                         [--kinds TEXT] [--elsewhere] [--faults N] [--seed S] [--only N] [--ranks MAX]

Fault N of seed S is always the same kind at the same step of the same run, where the options are the same: --seed S
--only N replays it. As root the campaign has mounts of its own (/dev/shm, small file systems); else the kinds that
need them are left out, and shared memory is not looked at. At the end the table for docs/faults.md is printed; the
exit code is the number of faults not survived, at most 100.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fault_jobs import JOBS
from fault_kinds import ALONE, KINDS, LAUNCH, MPIRUN, mount
from fault_runs import Output, Start, Stuck, leftovers

NAMESPACE = "GENTRAIN_CAMPAIGN_MOUNTS"
GONE = 5.0   # seconds after which nothing may be left
GOES_ON = 10.0  # seconds from a fault to the next step under launch, at most; on a quiet machine 4
LOCKED = "is being written to by another run"


class Campaign:
    def __init__(self, arguments, folder, private):
        self.program = Path(arguments.program).resolve()
        self.mpirun = arguments.mpirun
        self.seed = arguments.seed
        self.job = JOBS[arguments.job]
        self.most_ranks = min(arguments.ranks, self.job.shards)
        self.elsewhere = arguments.elsewhere
        self.verbose = arguments.only is not None
        self.folder = folder
        self.private = private
        self.file = folder / "job.yaml"
        self.file.write_text(f"precision: {arguments.precision}\n{self.job.text}", encoding="utf-8")
        self.straight = None

    def start(self, output, setting, log):
        return Start(self.program, self.mpirun, self.file, output, setting, log)

    def run_straight(self):
        output = Output(self.folder / "straight")
        start = self.start(output, (ALONE, 1, 2), self.folder / "straight.log")
        if start.wait() != 0:
            raise Stuck(f"the undisturbed run failed:\n{start.text()}")
        self.straight = output

    def setting(self, numbers, hows=(ALONE, MPIRUN, LAUNCH), least=1):
        """How a run is started, its ranks and their threads."""
        how = numbers.choice(hows)
        ranks = 1 if how == ALONE else numbers.choice(self.rank_counts(least))
        return how, ranks, numbers.randint(1, 3)

    def other_setting(self, numbers, last):
        """One with neither the ranks nor the threads of `last`."""
        others = [(how, ranks, threads) for how in (ALONE, MPIRUN) for ranks in self.rank_counts(1)
                  for threads in (1, 2, 3)
                  if (ranks == 1 or how != ALONE) and ranks != last.ranks and threads != last.threads]
        return numbers.choice(others)

    def rank_counts(self, least):
        return [count for count in (1, 2, 3, 4, 5, 8, 16) if least <= count <= self.most_ranks]

    def fault(self, number, kind):
        """Lets one fault strike."""
        numbers = random.Random(f"{self.seed}/{number}")
        folder = self.folder / f"fault{number}"
        folder.mkdir()
        attempt = Attempt(self, kind, numbers, folder)
        began = time.monotonic()
        try:
            attempt.go()
        except Stuck as error:
            attempt.problems.append(str(error))
        finally:
            attempt.clean_up()
        seconds = time.monotonic() - began
        verdict = "; ".join(attempt.problems) or ("survived" if attempt.struck else "came too late")
        print(f"{number}: {kind.name}: {' -> '.join(attempt.story)}: {verdict} ({seconds:.1f} s)", flush=True)
        if attempt.problems or self.verbose:
            print((folder / "log").read_text(encoding="utf-8", errors="replace")[-6000:], flush=True)
        shutil.rmtree(folder, ignore_errors=not attempt.problems)
        return attempt


class Attempt:
    """One fault and what follows."""

    def __init__(self, campaign, kind, numbers, folder):
        self.campaign, self.kind, self.numbers = campaign, kind, numbers
        self.output = Output(folder / "run")
        self.log = folder / "log"
        self.struck = False
        self.late = False    # it struck when the run was through
        self.story = []      # in words
        self.problems = []
        self.starts = []
        self.seconds = None  # from the fault to the next new step under launch

    def begin(self, setting):
        start = self.campaign.start(self.output, setting, self.log)
        self.starts.append(start)
        return start

    def go(self):
        kind, numbers = self.kind, self.numbers
        self.output.folder.mkdir()
        if kind.mounts:
            mount("-t", "tmpfs", "-o", f"size={self.campaign.job.disk}", "tmpfs", self.output.folder)
        job = self.campaign.job
        step = numbers.randint(job.first, job.last)
        start = self.begin(self.campaign.setting(numbers, self.hows(), kind.ranks))
        if kind.moment == "own" or start.wait_for_step(step):
            pids = start.rank_pids().values()
            self.strike(start, step)
            self.late = self.output.step()[0] >= job.steps  # what is left may have been beyond harm
            if self.struck and pids and start.how == LAUNCH:
                self.time_to_next_step(start, pids)
        self.story.append(f"{start} at step {self.output.step()[0]}")
        self.check_end(start)
        if kind.after and self.struck:
            kind.after(self.output, numbers)
        if not self.finished(start):
            if kind.then and self.struck:
                again = self.begin(self.campaign.setting(numbers, (MPIRUN, ALONE)))
                kind.then(again, numbers, step)
                again.wait()
                self.story.append(str(again))
            self.go_on(start)
        self.compare()

    def hows(self):
        """With --elsewhere those that do not go on by themselves, where the kind has such."""
        by_hand = tuple(how for how in self.kind.hows if how != LAUNCH)
        return by_hand if self.campaign.elsewhere and by_hand else self.kind.hows

    def strike(self, start, step):
        try:
            self.struck = self.kind.strike(start, self.numbers, step)
        except Stuck as error:
            self.struck = True
            self.problems.append(str(error))

    def time_to_next_step(self, start, pids):
        """Only where the run goes on by itself: from now to a step that no rank of `pids` took."""
        struck = time.monotonic()
        before = 0
        while not start.over() and time.monotonic() - struck < 60:
            step = self.output.step()[0]
            if any(os.path.exists(f"/proc/{pid}") for pid in pids):
                before = max(before, step)
            elif step > before:
                self.seconds = time.monotonic() - struck
                if self.seconds > GOES_ON:
                    self.problems.append(f"{self.seconds:.1f} s to the next step")
                return
            time.sleep(0.01)
        if not start.over():
            self.problems.append("no next step within 60 s")

    def finished(self, start):
        return start.process.returncode == 0

    def check_end(self, start):
        code = start.wait()
        if self.late and code == 0:
            self.struck = False
        self.story.append(f"exit {code}" + (", as mpirun hung without ranks" if start.forsaken else ""))
        if self.struck and not self.kind.expected(start.how, code):
            self.problems.append(f"exit code {code}")
        if not self.struck and code != 0:
            self.problems.append(f"exit code {code} before the fault struck")
        if self.struck and self.kind.message and self.kind.message not in start.text():
            self.problems.append(f"'{self.kind.message}' was not printed")
        if start.how == LAUNCH and code != 137:  # it was not the launcher that was killed
            self.check_leftovers("launch")

    def go_on(self, disturbed):
        """The same command again, on other ranks and threads, until it is through."""
        for _ in range(20):
            start = self.begin(self.campaign.other_setting(self.numbers, disturbed) if self.campaign.elsewhere
                               else self.campaign.setting(self.numbers))
            code = start.wait()
            self.story.append(f"{start} from step {start.went_on_from()} exit {code}")
            if code == 0:
                self.check_leftovers("the next start")
                return
            if LOCKED not in start.text():
                self.problems.append(f"the next start ended with {code}")
                return
            time.sleep(0.5)
        self.problems.append("the output stayed locked")

    def check_leftovers(self, whose):
        found = leftovers([start.mark for start in self.starts], self.campaign.private, GONE)
        if found:
            self.problems.append(f"left behind after {whose}: {', '.join(found)}")

    def compare(self):
        straight = self.campaign.straight
        if self.problems and not (self.output.folder / "summary.json").exists():
            return
        if self.output.summary()["state_sha256"] != straight.summary()["state_sha256"]:
            self.problems.append("the state is another")
        if self.output.metrics() != straight.metrics():
            self.problems.append("metrics.jsonl is another")
        if self.output.temporary_files():
            self.problems.append(f"temporary files: {self.output.temporary_files()}")

    def clean_up(self):
        for start in self.starts:
            start.end()
        if self.campaign.private:
            for path in Path("/dev/shm").iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if self.kind.mounts:
            while os.path.ismount(self.output.folder):
                subprocess.run(["umount", "--lazy", str(self.output.folder)], check=True)


def have_mounts():
    """Starts this program anew with mounts of its own where that is possible."""
    if os.environ.get(NAMESPACE):
        mount("-t", "tmpfs", "tmpfs", "/dev/shm")
        return True
    if os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0:
        os.environ[NAMESPACE] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])
    return False


def table(tallies):
    lines = ["| fault | count | survived | came too late | slowest to the next step under launch |",
             "|---|---|---|---|---|"]
    totals = [0, 0, 0]
    for name, attempts in tallies.items():
        struck = [attempt for attempt in attempts if attempt.struck or attempt.problems]
        survived = sum(not attempt.problems for attempt in struck)
        seconds = [attempt.seconds for attempt in struck if attempt.seconds is not None]
        slowest = f"{max(seconds):.1f} s" if seconds else ""
        counts = [len(struck), survived, len(attempts) - len(struck)]
        totals = [total + count for total, count in zip(totals, counts)]
        lines.append(f"| {name} | {counts[0]} | {counts[1]} | {counts[2]} | {slowest} |")
    lines.append(f"| all | {totals[0]} | {totals[1]} | {totals[2]} | |")
    return "\n".join(lines)


def parse_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--mpirun", default="mpirun")
    parser.add_argument("--job", choices=list(JOBS), default="lenet")
    parser.add_argument("--precision", choices=["f32", "bf16_emulated"], default="f32")
    parser.add_argument("--kinds", default="", metavar="TEXT", help="only those with this text in their names")
    parser.add_argument("--elsewhere", action="store_true",
                        help="launch, which goes on by itself on the same ranks, is started only to be killed, and "
                             "what goes on has neither the ranks nor the threads of what was disturbed")
    parser.add_argument("--faults", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="where a campaign that was cut off goes on")
    parser.add_argument("--only", type=int)
    parser.add_argument("--ranks", type=int, default=16, help="at most so many")
    arguments = parser.parse_args()
    arguments.kinds = [kind for kind in KINDS if arguments.kinds in kind.name]
    if not arguments.kinds:
        parser.error(f"--kinds: no kind has this text in its name (known: {', '.join(kind.name for kind in KINDS)})")
    if arguments.elsewhere and arguments.ranks < 2:
        parser.error(f"--elsewhere: needs --ranks 2 or more, not {arguments.ranks}")
    return arguments


def main():
    arguments = parse_arguments()
    private = have_mounts()
    kinds = [kind for kind in arguments.kinds if private or not kind.mounts]
    for kind in arguments.kinds:
        if kind not in kinds:
            print(f"left out, as it needs mounts: {kind.name}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = Path(tempfile.mkdtemp(prefix="gentrain_faults_"))
    os.environ["TMPDIR"] = str(folder / "tmp")
    (folder / "tmp").mkdir()
    tallies = {kind.name: [] for kind in kinds}
    failed = 0
    try:
        campaign = Campaign(arguments, folder, private)
        campaign.run_straight()
        wanted = range(arguments.first, arguments.faults) if arguments.only is None else [arguments.only]
        for number in wanted:
            kind = arguments.kinds[number % len(arguments.kinds)]
            if kind in kinds:
                attempt = campaign.fault(number, kind)
                tallies[kind.name].append(attempt)
                failed += bool(attempt.problems)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(table({name: attempts for name, attempts in tallies.items() if attempts}))
    return min(failed, 100)


if __name__ == "__main__":
    sys.exit(main())
