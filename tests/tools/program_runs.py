"""Runs a program alone or under mpirun with a time limit, and finds ranks that outlive their job; and makes
images for it."""

import os
import signal
import struct
import subprocess
import threading
import time
import uuid
import zlib
from pathlib import Path

MPI_ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",
}
MARK = "GENTRAIN_TEST_MARK"


class Result:
    """How a run ended."""

    def __init__(self, code, lines, seconds, survivors):
        self.code = code            # None: it did not end in time
        self.lines = lines          # stdout and stderr together: (time.time() of its arrival, line)
        self.output = "".join(line for _, line in lines)
        self.seconds = seconds
        self.survivors = survivors  # processes left behind

    def __str__(self):
        return (f"exit code {self.code} after {self.seconds:.1f} s, survivors {self.survivors}\n"
                f"{self.output}")


def marked_processes(mark):
    """Processes alive that were started with this mark in their environment."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            pass  # ended meanwhile
    return found


def run(command, ranks=1, limit=10.0, env=None, cwd=None, mpirun="mpirun"):
    """Runs `command`, under mpirun if there are several ranks; kills what is left at the end."""
    if ranks > 1:
        command = [mpirun, "-np", str(ranks), "--oversubscribe", "--bind-to", "none", *command]
    mark = uuid.uuid4().hex
    environment = {**os.environ, **MPI_ENVIRONMENT, MARK: mark, **(env or {})}
    start = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], cwd=cwd, env=environment,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               errors="replace", start_new_session=True)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend((time.time(), line) for line in process.stdout))
    reader.start()
    reader.join(limit)
    try:
        if reader.is_alive():
            raise subprocess.TimeoutExpired(command, limit)
        code = process.wait(max(0.0, start + limit - time.monotonic()))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        code = None
    reader.join()
    seconds = time.monotonic() - start
    survivors = marked_processes(mark)
    if survivors and code is not None:
        time.sleep(0.5)  # a rank that was told to end may need a moment
        survivors = marked_processes(mark)
    for pid in survivors:
        os.kill(pid, signal.SIGKILL)
    return Result(code, lines, seconds, survivors)


def png(h, w, colour):
    """A PNG file of one RGB colour."""
    def chunk(name, content):
        named = name + content
        return struct.pack(">I", len(content)) + named + struct.pack(">I", zlib.crc32(named))

    rows = (b"\0" + bytes(colour) * w) * h
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
