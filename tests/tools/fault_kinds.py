"""The kinds of faults: when each strikes, what it does to a run, and how the run may end.

A fault gets a Start (fault_runs.py) and a generator of random numbers and returns whether it struck: a run that
was over before is no test of anything."""

import dataclasses
import os
import re
import resource
import signal
import subprocess
import time
from typing import Callable

from fault_jobs import STEPS_OF_EPOCH
from fault_runs import kill, wait_for

ALONE, MPIRUN, LAUNCH = "alone", "mpirun", "launch"
EVERY = (ALONE, MPIRUN, LAUNCH)
REQUESTED = 75


@dataclasses.dataclass
class Kind:
    name: str
    strike: Callable           # (start, random numbers, step) -> struck
    hows: tuple = EVERY
    ranks: int = 1             # at least
    moment: str = "step"       # a step is waited for before the fault strikes; or "own"
    codes: dict = dataclasses.field(default_factory=dict)  # how -> exit codes; else see expected_codes()
    message: str = ""          # must be printed
    after: Callable = None     # (output, random numbers): between the end and the next start
    then: Callable = None      # strikes the next start, too
    mounts: bool = False       # needs a mount namespace

    def expected(self, how, code):
        """Whether a disturbed run may end so: launch mends by itself, the others fail."""
        if how in self.codes:
            return code in self.codes[how]
        return code == 0 if how == LAUNCH else code not in (0, REQUESTED)


# ---- what strikes ---------------------------------------------------------------------------------

def signal_rank(number, choose):
    def strike(start, random, _step):
        pids = start.rank_pids()
        ranks = sorted(rank for rank in pids if choose(rank))
        return bool(ranks) and kill(pids[random.choice(ranks)], number)
    return strike


def stop_rank(start, random, _step):
    """Its peers name it within ten seconds."""
    pids = start.rank_pids()
    if len(pids) < start.ranks:
        return False
    rank = random.choice(sorted(pids))
    if not kill(pids[rank], signal.SIGSTOP):
        return False
    named = re.compile(rf"^gentrain: rank {rank} \([^ ]*:{pids[rank]}\) is silent", re.M)
    wait_for(f"a line that names rank {rank}", lambda: named.search(start.text()), 10, 0.05)
    return True


def any_rank(_rank):
    return True


def rank_zero(rank):
    return rank == 0


def other_rank(rank):
    return rank > 0


def signal_mpirun(number):
    def strike(start, _random, _step):
        pid = start.mpirun_pid()
        return pid is not None and kill(pid, number)
    return strike


def signal_start(number):
    """The process that the user started."""
    return lambda start, _random, _step: not start.over() and kill(start.process.pid, number)


def crash(start, random, step):
    number = random.choice((signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE))
    return signal_rank(number, any_rank)(start, random, step)


def starve_of_files(start, _random, _step):
    """Rank 0 can open no file any more: its next write throws."""
    pid = start.rank_pids().get(0)
    if pid is None:
        return False
    try:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, 0))
    except ProcessLookupError:
        return False
    return True


def kill_everything(start, _random, _step):
    """As a power cut does, in any order."""
    struck = not start.over()
    start.end()
    return struck


def kill_during_start(start, random, _step):
    time.sleep(random.uniform(0.0, 0.15 if start.how == ALONE else 0.7))
    pids = list(start.rank_pids().values()) + [start.mpirun_pid()]
    pids = [pid for pid in pids if pid is not None] or [start.process.pid]
    return not start.over() and kill(random.choice(sorted(pids)), signal.SIGKILL)


def kill_during_evaluation(start, random, step):
    """Right after the last step of an epoch, before the line of its evaluation."""
    def evaluating():
        at, evaluated = start.output.step()
        return start.over() or (at >= step and at % STEPS_OF_EPOCH == 0 and not evaluated)
    pids = start.rank_pids()
    wait_for("an evaluation", evaluating, pause=0)
    time.sleep(random.uniform(0, 0.01))
    return not start.over() and bool(pids) and kill(pids[random.choice(sorted(pids))], signal.SIGKILL)


def kill_during_writing(start, _random, _step):
    """The rank that writes, while the temporary file is there."""
    pid = start.rank_pids().get(0)
    wait_for("a temporary file", lambda: start.over() or start.output.being_written(), pause=0)
    return not start.over() and pid is not None and kill(pid, signal.SIGKILL)


def kill_twice(start, random, step):
    """A rank, and under launch one of its successors while they resume; else see `then`."""
    first = start.rank_pids()
    if not signal_rank(signal.SIGKILL, any_rank)(start, random, step):
        return False
    if start.how == LAUNCH:
        def successors():
            pids = start.rank_pids()
            return start.over() or [pid for pid in pids.values() if pid not in first.values()]
        wait_for("a relaunch", successors)
        time.sleep(random.uniform(0, 0.5))
        signal_rank(signal.SIGKILL, any_rank)(start, random, step)
    return True


# ---- disks ----------------------------------------------------------------------------------------

def mount(*words):
    subprocess.run(["mount", *map(str, words)], check=True, stderr=subprocess.DEVNULL)


def fill_disk(start, _random, _step):
    """The output lies on a small file system of its own. What the run frees is taken too, until it has ended."""
    full = False
    with open(start.output.folder / "filler", "wb", buffering=0) as file:
        while not start.over():
            try:
                file.write(bytes(4096))
            except OSError:
                full = full or not start.output.finished()
                time.sleep(0.001)
    return full


def empty_disk(output, _random):
    (output.folder / "filler").unlink()


def make_read_only(start, _random, _step):
    if start.over():
        return False
    folder = start.output.folder
    mount("--bind", folder, folder)
    while not start.over():
        try:
            mount("-o", "remount,bind,ro", folder)
            return not start.output.finished()  # nothing is written behind that
        except subprocess.CalledProcessError:  # just then a file was open there
            time.sleep(0.003)
    return False


def make_writable(output, _random):
    subprocess.run(["umount", "--lazy", str(output.folder)], check=True)


# ---- damage ---------------------------------------------------------------------------------------

def tear_newest(output, random):
    files = output.checkpoints()
    if files:
        os.truncate(files[-1], random.randrange(files[-1].stat().st_size))


def flip_in_newest(output, random):
    files = output.checkpoints()
    if files:
        content = bytearray(files[-1].read_bytes())
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
        files[-1].write_bytes(content)


MENDED_OR_REQUESTED = {how: (REQUESTED,) for how in EVERY}
NOT_MENDED = {how: (1, 3) for how in EVERY}
KILLED = {how: (137,) for how in EVERY}

# Those that a short campaign is to have come first.
KINDS = [
    Kind("kill -9 of a rank", signal_rank(signal.SIGKILL, other_rank), (MPIRUN, LAUNCH), 2),
    Kind("kill -9 of the launcher", signal_start(signal.SIGKILL), (LAUNCH,), codes=KILLED),
    Kind("a full disk", fill_disk, codes=NOT_MENDED, message="No space left on device",
         after=empty_disk, mounts=True),
    Kind("a torn checkpoint", kill_everything, codes=KILLED, after=tear_newest),
    Kind("a flipped bit in the newest checkpoint", kill_everything, codes=KILLED, after=flip_in_newest),
    Kind("SIGUSR1 to a rank", signal_rank(signal.SIGUSR1, any_rank), codes=MENDED_OR_REQUESTED),
    Kind("SIGTERM", signal_start(signal.SIGTERM),
         codes={ALONE: (REQUESTED,), LAUNCH: (REQUESTED,), MPIRUN: (1, 143)}),
    Kind("a read-only folder", make_read_only, codes=NOT_MENDED, message="Read-only file system",
         after=make_writable, mounts=True),
    Kind("a rank that throws", starve_of_files, codes=NOT_MENDED, message="Too many open files"),
    Kind("a kill during the start", kill_during_start, moment="own"),
    Kind("a kill during checkpoint writing", kill_during_writing),
    Kind("a kill during recovery", kill_twice, then=kill_during_start),
    Kind("kill -9 of rank 0", signal_rank(signal.SIGKILL, rank_zero)),
    Kind("kill -9 of mpirun", signal_mpirun(signal.SIGKILL), (MPIRUN, LAUNCH)),
    Kind("kill -9 of everything", kill_everything, codes=KILLED),
    Kind("a rank that crashes", crash),
    Kind("a kill during evaluation", kill_during_evaluation),
    Kind("SIGSTOP of a rank", stop_rank, (MPIRUN, LAUNCH), 2),
]
