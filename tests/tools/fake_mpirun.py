#!/usr/bin/env python3
"""Plays mpirun for tests of `gentrain launch`: each start takes the next act of the file $FAKE_ACTS, a JSON
list, and appends {"argv", "restarts"} to $FAKE_ACTS.log. The last act is repeated. An act's keys, in the order
they are done:

  status       content of OUTPUT/status.json ($FAKE_OUTPUT)
  touch        files to make, relative to the output
  stdout, stderr   texts to print
  child        starts a process that sleeps, 60 seconds or child_for, and prints its number
  stop         stops the child ("child") or itself ("self")
  usr1         exit code once SIGUSR1 has come (until then it waits); "ignore": SIGUSR1 changes nothing
  term         "ignore": SIGTERM changes nothing
  sleep        seconds
  signal, exit     how it ends; exit code 0 if neither is there
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def next_act(file):
    log = Path(f"{file}.log")
    done = len(log.read_text(encoding="utf-8").splitlines()) if log.exists() else 0
    with log.open("a", encoding="utf-8") as stream:
        json.dump({"argv": sys.argv[1:], "restarts": os.environ["GENTRAIN_RESTARTS"],
                   "time": time.time()}, stream)
        stream.write("\n")
    acts = json.loads(file.read_text(encoding="utf-8"))
    return acts[min(done, len(acts) - 1)]


def write_files(act):
    output = Path(os.environ["FAKE_OUTPUT"])
    for name in act.get("touch", []):
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).touch()
    if "status" in act:
        output.mkdir(parents=True, exist_ok=True)
        (output / ".status").write_text(json.dumps(act["status"]), encoding="utf-8")
        (output / ".status").rename(output / "status.json")


def main():
    act = next_act(Path(os.environ["FAKE_ACTS"]))
    wanted = []
    if "usr1" in act:
        signal.signal(signal.SIGUSR1, lambda *_: wanted.append(1))
    if act.get("term") == "ignore":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    write_files(act)
    print(act.get("stdout", ""), end="", flush=True)
    print(act.get("stderr", ""), end="", file=sys.stderr, flush=True)
    if "child" in act:
        child = subprocess.Popen(["sleep", str(act.get("child_for", 60))], start_new_session=True)
        print(f"child {child.pid}", flush=True)
    if act.get("stop") == "child":
        os.kill(child.pid, signal.SIGSTOP)
    elif act.get("stop") == "self":
        os.kill(os.getpid(), signal.SIGSTOP)
    while "usr1" in act and (not wanted or act["usr1"] == "ignore"):
        time.sleep(0.02)
    if "usr1" in act:
        write_files({"status": {"state": "stopped", "step": 7}})
        return act["usr1"]
    time.sleep(act.get("sleep", 0))
    if "signal" in act:
        os.kill(os.getpid(), act["signal"])
    return act.get("exit", 0)


if __name__ == "__main__":
    sys.exit(main())
