#!/usr/bin/env python3
"""The verbs of the built program where a process of its own matters: on a terminal, under mpirun, and
what `check` foretells against what `bench` and a run then measure.

usage: GENTRAIN=PROGRAM MPIRUN=mpirun verbs_test.py [CLASS...]
"""

import json
import os
import pty
import re
import shutil
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from program_runs import MPI_ENVIRONMENT, png, run

PROGRAM = os.environ.get("GENTRAIN", "gentrain")
MPIRUN = os.environ.get("MPIRUN", "mpirun")
LIMIT = 60.0
MISSING = 3
JOB = """\
batch: {global: 512, shards: 16}
data: {source: digits, train_count: 1024, test_count: 64}
model: lenet
stop: {steps: 4}
threads: 1
"""


class VerbTest(unittest.TestCase):
    """A folder with a job."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="gentrain_verbs_"))
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "job.yaml").write_text(JOB, encoding="utf-8")

    def gentrain(self, *arguments, ranks=1, code=0):
        """What it prints."""
        result = run([PROGRAM, *arguments], ranks, LIMIT, cwd=self.folder, mpirun=MPIRUN)
        self.assertEqual(result.code, code, result)
        self.assertEqual(result.survivors, [], result)
        return result.output

    def train(self):
        self.gentrain("job.yaml", "--quiet")
        return self.folder / "runs/job/model.h5"

    def foretold(self, *arguments, code=0):
        text = self.gentrain("check", "job.yaml", *arguments, code=code)
        numbers = {}
        for key, pattern in (("tensor", r"tensor memory +([\d.]+) MiB"),
                             ("resident", r"resident memory +([\d.]+) MiB a rank"),
                             ("bytes", r"exchanged +at most ([\d,]+) bytes")):
            numbers[key] = float(re.search(pattern, text)[1].replace(",", ""))
        return numbers

    def assert_close(self, foretold, measured):
        self.assertAlmostEqual(foretold["tensor"], measured["tensor_peak_mib"],
                               delta=0.05 * measured["tensor_peak_mib"])
        self.assertAlmostEqual(foretold["resident"], measured["peak_rss_mib"],
                               delta=max(30.0, 0.2 * measured["peak_rss_mib"]))


def last_json(text):
    return json.loads(text.strip().splitlines()[-1])


class Terminal(VerbTest):
    """What is printed on a terminal alone."""

    def on_terminal(self, *arguments, env=None, launcher=()):
        try:
            leader, follower = pty.openpty()
        except OSError as error:
            self.skipTest(f"no pseudo terminal to be had here: {error}")
        environment = {**os.environ, **MPI_ENVIRONMENT, **(env or {})}
        if env is None:
            environment.pop("NO_COLOR", None)
        with subprocess.Popen([*launcher, PROGRAM, *arguments], cwd=self.folder, env=environment,
                              stdout=follower, stderr=subprocess.DEVNULL) as process:
            os.close(follower)
            text = b""
            while True:
                try:
                    piece = os.read(leader, 65536)
                except OSError:  # the other side is closed
                    break
                if not piece:
                    break
                text += piece
        os.close(leader)
        self.assertEqual(process.returncode, 0, text)
        return text.decode()

    def test_digits_are_drawn_in_greys(self):
        model = self.train()
        text = self.on_terminal("predict", str(model), "digits", "-n", "2")
        self.assertEqual(text.count("\033[0m"), 2 * (14 + 1), text)  # lines, and the label's bar
        self.assertIn("\033[38;5;232;48;5;232m\u2580", text)
        plain = self.on_terminal("predict", str(model), "digits", "-n", "2", env={"NO_COLOR": "1"})
        self.assertNotIn("\033", plain)
        self.assertIn("\u2588", plain)

    def test_the_bar_leaves_no_trace(self):
        text = self.on_terminal("job.yaml", "--set", "log.every=1")
        self.assertRegex(text, r"\r\[[#.]{20}\] step 1 of 4  loss \d\.\d{4}  [\d,.]+ images/s  \d+ s left\x1b\[K")
        shown = [re.sub(r".*\r", "", line) for line in text.replace("\r\n", "\n").split("\n")]
        lines = [re.sub(r"\x1b\[K", "", line) for line in shown]
        self.assertEqual([line for line in lines if "\x1b" in line or line.startswith("[")], [])
        log = (self.folder / "runs/job/log.txt").read_text(encoding="utf-8")
        self.assertEqual([line[21:] for line in log.splitlines()], lines[:-1])

    def test_a_launcher_whose_output_is_a_file(self):
        bar = "\033[K"
        self.assertNotIn(bar, self.gentrain("job.yaml", ranks=2))
        text = self.gentrain("predict", "runs/job/model.h5", "digits", "-n", "2", ranks=2)
        self.assertNotIn("\033", text)
        self.assertNotIn("\u2580", text)
        launcher = (MPIRUN, "-np", "2", "--oversubscribe", "--bind-to", "none")
        self.assertIn(bar, self.on_terminal("job.yaml", "--overwrite", launcher=launcher))

    def test_the_tiles_of_a_large_image(self):
        (self.folder / "srgan.yaml").write_text(
            "batch: {global: 4, shards: 2}\ndata: {source: faces, train_count: 4, test_count: 2}\n"
            "model: {name: srgan, width: 4, blocks: 1}\ninit: xavier\nsamples: {every: never}\n"
            "stages: {mse: {stop: {steps: 1}}}\n", encoding="utf-8")
        self.gentrain("srgan.yaml", "--quiet")
        (self.folder / "x.png").write_bytes(png(300, 400, [250, 90, 10]))
        model = "runs/srgan/model.h5"
        text = self.on_terminal("upscale", model, "x.png", "--out", "o", "--threads", "2")
        self.assertRegex(text, r"\r\[[#.]{20}\] tile 2 of 6  \d+ s left\x1b\[K")
        shown = [re.sub(r".*\r", "", line) for line in text.replace("\r\n", "\n").split("\n")]
        lines = [re.sub(r"\x1b\[K", "", line) for line in shown]
        self.assertRegex(lines[0], r"^x.png: 300 x 400 pixels become 1200 x 1600 in o/x.png, ")
        self.assertRegex(lines[1], r"^1 of 1 images, 1.92 MPixel in ")

    def test_many_images_are_not_drawn(self):
        text = self.on_terminal("predict", str(self.train()), "digits")
        self.assertNotIn("\u2580", text)
        self.assertEqual(len(text.splitlines()), 1 + 10000)


class Check(VerbTest):
    """Foretold against measured, on one rank."""

    def test_bench_and_run_measure_what_check_says(self):
        foretold = self.foretold()
        self.assert_close(foretold, last_json(self.gentrain("bench", "job.yaml", "--steps", "5")))
        self.train()
        self.assert_close(foretold,
                          json.loads((self.folder / "runs/job/summary.json").read_text()))

    def test_a_run_keeps_the_versions(self):
        self.train()
        environment = json.loads((self.folder / "runs/job/environment.json").read_text())
        self.assertEqual(environment["version"], self.gentrain("--version"))
        self.assertRegex(environment["version"], r"(?s)gentrain \d.*HDF5 \d.*Open MPI ")

    def test_several_workers(self):
        job = ("--set", "threads=2", "--set", "batch.global=2048", "--set", "data.train_count=4096")
        foretold = self.foretold(*job)
        self.assert_close(foretold,
                          last_json(self.gentrain("bench", "job.yaml", "--steps", "20", *job)))

    def test_names_that_patterns_match(self):
        text = self.gentrain("check", "job.yaml")
        self.assertRegex(text, r"\nconv1 .* conv1/weight conv1/bias\n")
        self.assertRegex(text, r"\nmax_pool .*\d\n")

    def test_what_auto_took(self):
        data = "data={source: auto, folder: nowhere, train_count: 1024, test_count: 64}"
        self.assertRegex(self.gentrain("check", "job.yaml", "--set", data),
                         r"\ndata +built-in digits.*\n +MNIST was not found in nowhere: taking the "
                         r"built-in digits\nsteps ")

    def test_a_skipped_stage_changes_no_hash(self):
        (self.folder / "one.yaml").write_text(
            JOB.replace("stop: {steps: 4}", "stages: {a: {stop: {steps: 2}, optimizer: adam}}"))
        (self.folder / "two.yaml").write_text(
            JOB.replace("stop: {steps: 4}", "stages: {a: {stop: {steps: 2}, optimizer: adam}, "
                                            "b: {stop: {steps: 0}}}"))
        hashes = []
        for name in ("one", "two"):
            self.gentrain(f"{name}.yaml", "--quiet")
            summary = json.loads((self.folder / "runs" / name / "summary.json").read_text())
            hashes.append((summary["weights_sha256"], summary["state_sha256"]))
        self.assertEqual(hashes[0], hashes[1])

    def test_status_follows_the_run(self):
        status = self.folder / "runs/job/status.json"
        with subprocess.Popen([PROGRAM, "job.yaml", "--quiet", "--set", "stop.steps=1000000"],
                              cwd=self.folder) as process:
            step = 0
            deadline = time.monotonic() + LIMIT
            while step == 0 and time.monotonic() < deadline:
                time.sleep(0.1)
                if status.exists():
                    step = json.loads(status.read_text())["step"]
            process.kill()
        self.assertGreater(step, 0)

    def test_nothing_is_written(self):
        self.foretold()
        self.gentrain("bench", "job.yaml", "--steps", "1")
        self.assertEqual([path.name for path in self.folder.iterdir()], ["job.yaml"])

    def test_missing_data_is_told_with_the_rest(self):
        numbers = self.foretold("--set", "data={source: mnist, folder: nowhere}", code=MISSING)
        self.assertGreater(numbers["resident"], 50)  # 70,000 images are counted in


class Ranks(VerbTest):
    """The same over ranks."""

    def test_bench_measures_what_check_says(self):
        foretold = self.foretold("--ranks", "3")
        measured = last_json(self.gentrain("bench", "job.yaml", "--steps", "5", ranks=3))
        self.assert_close(foretold, measured)
        self.assertEqual(foretold["bytes"], measured["exchanged_bytes"])
        self.assertEqual((measured["ranks"], measured["threads"]), (3, 1))
        self.assertAlmostEqual(measured["images_per_s"], 512e3 / measured["step_ms"], delta=1)

    def test_evaluation_is_the_same(self):
        model = self.train()
        one = last_json(self.gentrain("eval", model, "digits"))
        self.assertEqual(one, last_json(self.gentrain("eval", model, "digits", ranks=3)))

    def test_one_rank_prints(self):
        model = self.train()
        text = self.gentrain("predict", model, "digits", "-n", "2", "--format", "csv", ranks=2)
        self.assertEqual(text.count("image,label"), 1)
        self.assertEqual(self.gentrain("list", "models", ranks=2), "lenet\nvae\nvae_conv\nsrgan\n"
                         "inception_v3\nvgg16\nvgg19\nsqueezenet\n")


class Pictures(VerbTest):
    """predict and features on pictures: the same bytes over ranks, names as they come."""

    def setUp(self):
        super().setUp()
        self.model = str(self.train())
        for name in ("a", "b"):
            (self.folder / "set" / name).mkdir(parents=True)
            for i in range(9):
                (self.folder / "set" / name / f"{i}.png").write_bytes(png(20 + i, 30, [9 * i, 90, ord(name)]))
        (self.folder / "set/a/5.png").write_bytes(b"no picture")

    def test_the_same_rows_over_ranks_and_threads(self):
        words = ("predict", self.model, "set", "--format", "csv", "--batch", "4")
        one = self.gentrain(*words, "--threads", "1")
        self.assertEqual(len(one.splitlines()), 1 + 1 + 18 + 1, one)  # what is read, the head, the failures
        self.assertIn("1 of 18 pictures could not be read", one)
        rows = [line for line in one.splitlines() if line.startswith("set/")]
        self.assertEqual([row.partition(",")[0] for row in rows],
                         [f"set/{name}/{i}.png" for name in "ab" for i in range(9)])
        for ranks, threads in ((1, 2), (2, 1), (3, 2)):
            other = self.gentrain(*words, "--threads", str(threads), ranks=ranks)
            self.assertEqual([line for line in other.splitlines() if line.startswith("set/")], rows)

    def test_the_same_features_over_ranks(self):
        files = []
        for ranks in (1, 3):
            self.gentrain("features", self.model, "set", "--layer", "conv2", "--out", f"{ranks}.h5", "--batch", "4",
                          ranks=ranks)
            files.append((self.folder / f"{ranks}.h5").read_bytes())
        self.assertEqual(files[0], files[1])

    def test_an_unreadable_list_ends_all_ranks(self):
        text = self.gentrain("predict", self.model, "gone.txt", ranks=3, code=MISSING)
        self.assertIn("gone.txt", text)
        (self.folder / "none.txt").write_text("set/a/5.png\n", encoding="utf-8")
        self.gentrain("predict", self.model, "none.txt", ranks=3, code=MISSING)

    def test_rows_come_while_names_are_read(self):
        with subprocess.Popen([PROGRAM, "predict", self.model, "-", "--format", "csv", "--batch", "2"],
                              cwd=self.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True) as process:
            self.assertTrue(process.stdout.readline().startswith("image,"))
            for first in (0, 2):
                process.stdin.write(f"set/b/{first}.png\nset/b/{first + 1}.png\n")
                process.stdin.flush()
                for i in (first, first + 1):
                    self.assertTrue(process.stdout.readline().startswith(f"set/b/{i}.png,"))
            process.stdin.write("set/b/8.png\n")
            process.stdin.close()
            self.assertTrue(process.stdout.readline().startswith("set/b/8.png,"))
            self.assertEqual(process.wait(LIMIT), 0)


if __name__ == "__main__":
    unittest.main()
