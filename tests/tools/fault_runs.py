"""Training runs to be disturbed: started alone, under mpirun or under `gentrain launch`, watched by their
files and by /proc, and what they leave behind."""

import json
import os
import re
import signal
import subprocess
import time
import uuid
from pathlib import Path

from program_runs import MARK, MPI_ENVIRONMENT, marked_processes

SHARED_MEMORY = Path("/dev/shm")
LIMIT = 120.0  # seconds that any start may take
FORSAKEN = 15.0  # seconds after which an mpirun without ranks is taken to hang


class Stuck(Exception):
    """Something that was waited for did not come."""


def wait_for(what, condition, limit=60.0, pause=0.002):
    """What `condition` returns once that is true."""
    deadline = time.monotonic() + limit
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Stuck(f"{what}: not within {limit:.0f} s")
        time.sleep(pause)


class Output:
    """The folder of a run: what its files say."""

    def __init__(self, folder):
        self.folder = folder

    def metrics(self):
        """The lines that are whole, without what depends on time."""
        try:
            text = (self.folder / "metrics.jsonl").read_text(encoding="utf-8")
        except OSError:
            return []
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [{key: value for key, value in line.items() if key != "images_per_s"} for line in lines]

    def step(self):
        """(the last step told, whether that line is an evaluation)"""
        lines = self.metrics()
        return (lines[-1]["step"], "evaluation" in lines[-1]) if lines else (0, False)

    def checkpoints(self):
        return sorted((self.folder / "checkpoints").glob("step-*.h5"))

    def being_written(self):
        """Temporary files of checkpoints."""
        try:
            return [entry.path for entry in os.scandir(self.folder / "checkpoints")
                    if entry.name.endswith(".tmp")]
        except OSError:
            return []

    def temporary_files(self):
        return [str(path.relative_to(self.folder)) for path in self.folder.rglob(".*.tmp")]

    def finished(self):
        """Whether all has been written."""
        try:
            return json.loads((self.folder / "status.json").read_text(encoding="utf-8"))["state"] == "finished"
        except (OSError, ValueError):
            return False

    def summary(self):
        return json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))


def parent_program(pid):
    """The program of a process's parent; None if it ended."""
    try:
        parent = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[1]
        return os.readlink(f"/proc/{parent}/exe")
    except OSError:
        return None


class Start:
    """One start of the program on an output folder."""

    def __init__(self, program, mpirun, job, output, setting, log):
        self.how, self.ranks, self.threads = setting
        self.output = output
        self.log = log
        self.mark = uuid.uuid4().hex
        self.forsaken = False  # whether its mpirun hung without ranks
        command = [program]
        if self.how == "mpirun":
            command = [mpirun, "-np", str(self.ranks), "--oversubscribe", "--bind-to", "none", program]
        elif self.how == "launch":
            command = [program, "launch", "-np", str(self.ranks), "--mpirun", mpirun]
        command += [job, "--set", f"output={output.folder}", "--set", f"threads={self.threads}"]
        self.program = os.path.realpath(program)
        environment = {**os.environ, **MPI_ENVIRONMENT, MARK: self.mark}
        self.begun = time.monotonic()
        with open(log, "ab") as stream:
            stream.write(f"---- {self}\n".encode())
            stream.flush()
            self.process = subprocess.Popen([str(part) for part in command], env=environment,
                                            stdout=stream, stderr=subprocess.STDOUT,
                                            cwd=output.folder.parent, start_new_session=True)

    def __str__(self):
        return f"{self.how} {self.ranks}x{self.threads}"

    def text(self):
        """What was printed since this start."""
        return self.log.read_text(encoding="utf-8", errors="replace").rpartition(f"---- {self}\n")[2]

    def went_on_from(self):
        """The step of the checkpoint that it began with; 0 without one."""
        found = re.search(r"^going on from .*/step-(\d+)\.h5$", self.text(), re.M)
        return int(found[1]) if found else 0

    def over(self):
        return self.process.poll() is not None

    def rank_pids(self):
        """{rank: pid}"""
        found = {}
        for pid in [self.process.pid] if self.how == "alone" else marked_processes(self.mark):
            try:
                program = os.readlink(f"/proc/{pid}/exe")
                environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            except OSError:
                continue  # ended meanwhile
            if pid != self.process.pid and parent_program(pid) == program:
                continue  # a rank's own guard
            ranks = [entry[21:] for entry in environment if entry.startswith(b"OMPI_COMM_WORLD_RANK=")]
            if program == self.program and (ranks or self.how == "alone"):
                found[int(ranks[0]) if ranks else 0] = pid
        return found

    def mpirun_pid(self):
        """None if there is none now."""
        if self.how == "mpirun":
            return self.process.pid
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        try:
            for child in children.read_text().split():
                if Path(f"/proc/{child}/comm").read_text().strip() in ("mpirun", "mpiexec", "orterun"):
                    return int(child)
        except OSError:
            pass
        return None

    def wait_for_ranks(self):
        return wait_for("ranks", lambda: self.over() or len(self.rank_pids()) == self.ranks)

    def wait_for_step(self, step):
        """False if the run ended before."""
        wait_for(f"step {step}", lambda: self.over() or self.output.step()[0] >= step, LIMIT)
        return not self.over()

    def wait(self, limit=LIMIT):
        """Its exit code as a shell gives it. An mpirun that hangs in its own end once all ranks have ended (Open
        MPI 4.1.4 does, rarely: pmix_rte_finalize waits for a mutex) is killed, as a user would."""
        begun = ranks_seen = time.monotonic()
        while not self.over():
            now = time.monotonic()
            if self.how != "mpirun" or set(marked_processes(self.mark)) - {self.process.pid}:
                ranks_seen = now
            elif now - ranks_seen > FORSAKEN:
                self.forsaken = True
                kill(self.process.pid, signal.SIGKILL)
            if now - begun > limit:
                raise Stuck(f"{self} did not end within {limit:.0f} s")
            time.sleep(0.05)
        code = self.process.returncode
        return code if code >= 0 else 128 - code

    def end(self):
        """Kills what is left of it, and waits until it is gone."""
        while True:
            pids = marked_processes(self.mark)
            for pid in pids:
                kill(pid, signal.SIGKILL)
            if not pids:
                break
        self.process.wait()
        time.sleep(0.1)  # the last of them may still be on their way


def kill(pid, number):
    """Whether it was there."""
    try:
        os.kill(pid, number)
        return True
    except OSError:
        return False


def leftovers(marks, private, limit):
    """What is still there of these starts after at most `limit` seconds: processes, shared memory."""
    deadline = time.monotonic() + limit
    while True:
        found = [f"process {pid}" for mark in marks for pid in marked_processes(mark)]
        if private:  # nobody else's files are there
            found += [str(path) for path in SHARED_MEMORY.iterdir()]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)
