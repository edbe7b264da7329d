#!/usr/bin/env python3
"""The promise of the built program: one job gives the same bytes on any number of ranks and threads; and
what must give other bytes does.

usage: GENTRAIN=PROGRAM MPIRUN=mpirun [GENTRAIN_DATA=FOLDER] same_bytes_test.py [CLASS...]
"""

import hashlib
import json
import os
import re
import shutil
import struct
import tempfile
import threading
import unittest
from pathlib import Path

from program_runs import png, run

PROGRAM = os.environ.get("GENTRAIN", "gentrain")
MPIRUN = os.environ.get("MPIRUN", "mpirun")
JOBS = Path(__file__).resolve().parents[2] / "jobs"
# Ranks and threads of a rank. A rank has at most as many threads as shards: 16 ranks have one each.
ALL = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (3, 3), (5, 1), (5, 2), (5, 3),
       (8, 1), (8, 2), (16, 1)]
SOME = [(1, 1), (1, 3), (3, 2), (5, 1), (16, 1)]
POWERS = [(1, 1), (1, 2), (2, 1), (3, 1), (4, 1), (8, 1), (16, 1)]


class SameBytes(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="gentrain_same_bytes_"))
        self.addCleanup(shutil.rmtree, self.folder)

    def summary(self, job, ranks, threads, *settings):
        """Trains and gives the run's summary.json."""
        options = [word for setting in (*settings, "output=run", f"threads={threads}")
                   for word in ("--set", setting)]
        result = run([PROGRAM, JOBS / job, "--quiet", "--overwrite", *options], ranks, 60.0,
                     cwd=self.folder, mpirun=MPIRUN)
        self.assertEqual(result.code, 0, result)
        summary = json.loads((self.folder / "run/summary.json").read_text(encoding="utf-8"))
        self.assertEqual(summary["ranks"], ranks)
        return summary

    def hashes(self, job, ranks, threads, *settings):
        summary = self.summary(job, ranks, threads, *settings)
        return {key: summary[key] for key in ("weights_sha256", "state_sha256", "data_sha256")
                } | {"metrics": summary["metrics"]}

    def assert_same(self, job, places, *settings):
        expected = self.hashes(job, *places[0], *settings)
        for ranks, threads in places[1:]:
            with self.subTest(ranks=ranks, threads=threads):
                self.assertEqual(self.hashes(job, ranks, threads, *settings), expected)
        return expected


class TinyJobs(SameBytes):
    def test_lenet(self):
        self.assert_same("tiny/lenet.yaml", ALL)

    def test_mlp(self):
        self.assert_same("tiny/mlp.yaml", SOME)

    def test_dropout(self):
        self.assert_same("tiny/dropout.yaml", SOME)

    def test_stages(self):
        self.assert_same("tiny/stages.yaml", SOME)

    def test_vae(self):
        self.assert_same("tiny/vae.yaml", POWERS)

    def test_srgan(self):
        self.assert_same("tiny/srgan.yaml", [(1, 1), (1, 2), (1, 3), (2, 2), (3, 1), (4, 1)])

    def test_srgan_of_the_paper(self):
        self.assert_same("tiny/srgan.yaml", [(1, 1), (1, 2), (3, 1)],
                         "model={name: srgan, variant: paper, blur: 1.5, width: 4, blocks: 1}",
                         "content={weights: random, maps: [block2_conv2]}",
                         "adversarial={loss: cross_entropy, weight: 0.01}",
                         "stages.mse.stop={steps: 1}", "stages.gan.stop={steps: 2}",
                         "data={source: faces, train_count: 16, test_count: 2}")

    def test_finetune(self):
        for i in range(24):
            folder = self.folder / "set" / ("validation" if i < 4 else "train") / ("cats", "dogs")[i % 2]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{i}.png").write_bytes(png(40 + i, 56, [10 * i, 120 + 60 * (i % 2), 250 - 9 * i]))
        job = ("tiny/finetune.yaml", [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (4, 1)], "data.path=set")
        whole = self.assert_same(*job)
        self.assertNotEqual(self.hashes(job[0], 1, 1, job[2], "stages.finetune.freeze=[]"), whole)
        self.assert_same(*job, "precision=bf16_emulated")

    def test_bf16(self):
        self.assert_same("tiny/srgan.yaml", [(1, 1), (1, 2), (3, 1)], "precision=bf16_emulated")
        self.assert_same("tiny/vae.yaml", POWERS, "precision=bf16_emulated")


class KeptMaps(SameBytes):
    """The maps of training images as files, made and read by any number of ranks and threads."""

    def test_srgan(self):
        same = self.hashes("tiny/srgan.yaml", 1, 1)
        kept = []
        for ranks, threads in ((2, 1), (1, 2)):
            with self.subTest(ranks=ranks, threads=threads):
                self.assertEqual(self.hashes("tiny/srgan.yaml", ranks, threads, "data.cache=cache",
                                             "content={weights: random, cache: true}"), same)
                kept.append({path.name: path.stat().st_mtime_ns
                             for path in (self.folder / "cache").iterdir()})
        self.assertEqual(len(kept[0]), 32)
        self.assertEqual(kept[1].keys(), kept[0].keys())
        written = [name for name, time in kept[1].items() if time != kept[0][name]]
        self.assertEqual(len(written), 1, "the second run reads what the first has kept, but for "
                                          "the file that shows whether it could keep some")
        listed = run([PROGRAM, "cache", "--folder", "cache", "--clear", "maps"], 1, 60.0,
                     cwd=self.folder)
        size = 64 + 4 * (96 * 96 * 64 + 48 * 48 * 128 + 24 * 24 * 256)
        self.assertIn(f"cache: 32 entries, {32 * size} bytes, removed", listed.output)


class Images(SameBytes):
    """A folder of images and packs of it, read by any number of ranks and threads."""

    JOB = ("batch={global: 12, shards: 4}", "stop={epochs: 2}", "optimizer.lr=0.005",
           "model={layers: [{conv: {out: 4, kernel: 3}}, relu, {max_pool: 2}, flatten, {linear: 3}]}")

    def setUp(self):
        super().setUp()
        for i in range(30):
            kind = "bcA"[i % 3]  # bytewise A, b, c
            (self.folder / "set" / kind).mkdir(parents=True, exist_ok=True)
            colour = [(40 + 5 * i) % 256, 20 + 60 * (i % 3), 200 - 3 * i]
            (self.folder / "set" / kind / f"{i}.png").write_bytes(png(8 + i % 5, 9 + i % 4, colour))

    def data(self, source, **more):
        values = {"source": "folder", "folder": source, "validation": 0.2, "size": [8, 10], **more}
        return "data=" + json.dumps(values)

    def pack(self, name, *options):
        result = run([PROGRAM, "pack", "set", name, *options], 1, 60.0, cwd=self.folder)
        self.assertEqual(result.code, 0, result)
        return result.output

    def test_srgan(self):
        """A shard of one image on each of 16 ranks; in the second step of an epoch half of them have one."""
        job = ("batch={global: 16, shards: 16}", "stages.mse.stop={steps: 2}", "stages.gan.stop={steps: 2}",
               self.data("set", size=16))
        self.assert_same("tiny/srgan.yaml", POWERS, *job)
        self.assert_same("tiny/srgan.yaml", POWERS, *job, "precision=bf16_emulated")

    def test_folders_and_packs(self):
        job = "tiny/mlp.yaml"
        same = self.assert_same(job, [(1, 1), (1, 3), (2, 1), (3, 1)], *self.JOB, self.data("set"))
        self.assertIn("30 images of 3 classes", self.pack("raw.h5"))
        self.pack("fitted.h5", "--size", "8x10", "--threads", "2")
        for source in ("raw.h5", "fitted.h5"):
            for ranks, threads in ((1, 2), (3, 1)):
                with self.subTest(source=source, ranks=ranks):
                    self.assertEqual(self.hashes(job, ranks, threads, *self.JOB, self.data(source)),
                                     same)
        other = self.hashes(job, 1, 1, *self.JOB, self.data("set", fit="stretch", size=[10, 10]))
        self.assertNotEqual(other["weights_sha256"], same["weights_sha256"])

    def test_bad_files_are_skipped(self):
        job = "tiny/mlp.yaml"
        same = self.hashes(job, 1, 1, *self.JOB, self.data("set"))
        (self.folder / "set/b/0.png").write_bytes(b"")
        (self.folder / "set/A/99.jpg").write_text("no image", encoding="utf-8")
        settings = [*self.JOB, self.data("set")]
        options = [word for setting in settings for word in ("--set", setting)]
        result = run([PROGRAM, JOBS / job, "--quiet", *options], 2, 60.0, cwd=self.folder,
                     mpirun=MPIRUN)
        self.assertEqual(result.code, 3, result)
        self.assertRegex(result.output, "set/(b/0.png is empty|A/99.jpg is no image)")
        skipping = self.data("set", on_bad_file="skip")
        places = [(1, 1), (3, 1)]
        left = self.assert_same(job, places, *self.JOB, skipping)
        self.assertNotEqual(left["data_sha256"], same["data_sha256"])
        environment = json.loads((self.folder / "run/environment.json").read_text(encoding="utf-8"))
        self.assertEqual([reason[:18] for reason in environment["images_left_out"]],
                         ["set/A/99.jpg is no", "set/b/0.png is emp"])

    def program(self, *words, code=0):
        result = run([PROGRAM, *words], 1, 60.0, cwd=self.folder)
        self.assertEqual(result.code, code, result)
        return result.output

    def test_models_at_work_on_images(self):
        self.hashes("tiny/mlp.yaml", 1, 1, *self.JOB, self.data("set"))
        self.pack("raw.h5")
        self.assertIn("raw.h5: whole, a pack of 3 arrays", self.program("verify", "raw.h5"))
        evaluations = [self.program("eval", "run/model.h5", data).splitlines()[-1]
                       for data in ("set", "raw.h5")]
        self.assertEqual(evaluations[0], evaluations[1])
        self.assertEqual(json.loads(evaluations[0])["samples"], 30)
        csv = ("--format", "csv")
        rows = self.program("predict", "run/model.h5", "set", *csv).splitlines()[2:]
        self.assertEqual(len(rows), 30)
        one = self.program("predict", "run/model.h5", "set/A/2.png", *csv).splitlines()
        self.assertEqual(one[0], "data: set/A/2.png")
        self.assertEqual(one[2].partition(",")[2], rows[3].partition(",")[2])  # 11, 14, 17, 2, ...
        self.assertNotEqual(rows[3].partition(",")[2], rows[15].partition(",")[2])
        flat = self.data("set/A")
        words = [word for setting in (*self.JOB, flat) for word in ("--set", setting)]
        self.assertIn("images in set/A: there are no classes, as it holds no folders, but the model "
                      "is a classifier",
                      self.program(JOBS / "tiny/mlp.yaml", "--quiet", *words, code=2))
        self.assertIn("set/A: there are no labels to compare with",
                      self.program("eval", "run/model.h5", "set/A", code=2))
        self.assertIn("nowhere: there is no such folder of images",
                      self.program("pack", "nowhere", "x.h5", code=3))
        for wrong, said in ((("--size", "5y"), "--size: '5y' is neither N nor HxW with numbers"),
                            (("--channels", "2"), "--channels: 2 were asked for, images have 3"),
                            (("--fit", "x"), "--fit: there is no 'x' (known: crop, stretch)"),
                            (("--threads=-1",), "--threads: -1 is not at least 0")):
            self.assertIn(said, self.program("pack", "set", "x.h5", *wrong, code=2))
        self.assertFalse((self.folder / "x.h5").exists())

    def test_the_cache_is_listed_and_cleared(self):
        key = "ab" * 32
        (self.folder / "c").mkdir()
        (self.folder / "c" / key).write_bytes(b"12345")
        listed = self.program("cache", "--folder", "c")
        self.assertRegex(listed, key + r"  other +5\nc: 1 entries, 5 bytes\n")
        self.assertIn("c: 1 entries, 5 bytes, removed", self.program("cache", "--folder", "c",
                                                                    "--clear"))
        self.assertIn("c: 0 entries, 0 bytes", self.program("cache", "--folder", "c"))

    def test_only_jobs_with_images_load_opencv(self):
        """The program's own libraries, as the loader lists them while it runs."""
        digits = "data={source: digits, train_count: 60, test_count: 20}"
        for data, classes, loads in ((self.data("set"), 3, True), (digits, 10, False)):
            model = f"model={{layers: [flatten, {{linear: {classes}}}]}}"
            options = [word for setting in (*self.JOB[:3], data, model, "output=run")
                       for word in ("--set", setting)]
            result = run([PROGRAM, JOBS / "tiny/mlp.yaml", "--overwrite", *options], 1, 60.0,
                         env={"LD_DEBUG": "libs"}, cwd=self.folder)
            self.assertEqual(result.code, 0, result)
            self.assertEqual("libopencv_core" in result.output, loads)
            environment = json.loads((self.folder / "run/environment.json").read_text())
            self.assertRegex(environment["image_library"], r"^OpenCV \d+\.\d+\.\d+$" if loads else "^$")
            self.assertEqual("OpenCV" in environment["contract"], loads)


class Enlarging(SameBytes):
    """A small generator and some images."""

    JOB = """\
batch: {global: 4, shards: 2}
data: {source: faces, train_count: 4, test_count: 2}
model: {name: srgan, width: 4, blocks: 1}
init: xavier
stages:
  mse: {stop: {steps: 1}, optimizer: {name: adam}}
samples: {every: never}
output: srgan
"""
    NAMES = [f"{i}.png" for i in range(5)]

    def setUp(self):
        super().setUp()
        (self.folder / "srgan.yaml").write_text(self.JOB, encoding="utf-8")
        result = run([PROGRAM, "srgan.yaml", "--quiet"], 1, 60.0, cwd=self.folder)
        self.assertEqual(result.code, 0, result)
        for i, name in enumerate(self.NAMES):
            extents = [(250, 410), (1, 1), (30, 20), (193, 9), (64, 64)][i]
            (self.folder / name).write_bytes(png(*extents, [40 * i, 200, 255 - 30 * i]))

    def upscale(self, ranks, threads, *images, code=0, limit=60.0):
        """What is printed, and the bytes of each result."""
        result = run([PROGRAM, "upscale", "srgan/model.h5", *images, "--out", "out",
                      f"--threads={threads}", "--overwrite"], ranks, limit, cwd=self.folder,
                     mpirun=MPIRUN)
        self.assertEqual(result.code, code, result)
        results = {path.name: path.read_bytes() for path in (self.folder / "out").iterdir()}
        shutil.rmtree(self.folder / "out")
        return result.output, results


class Upscaling(Enlarging):
    """Images enlarged on any number of ranks and threads."""

    def test_any_ranks_and_threads(self):
        _, expected = self.upscale(1, 1, *self.NAMES)
        self.assertEqual(sorted(expected), self.NAMES)
        for ranks, threads in ((1, 3), (2, 1), (3, 2), (5, 1), (8, 1)):
            with self.subTest(ranks=ranks, threads=threads):
                text, results = self.upscale(ranks, threads, *self.NAMES)
                self.assertEqual(results, expected)
                for name in self.NAMES:
                    self.assertEqual(text.count(f"{name}: "), 1, text)
                self.assertRegex(text, r"5 of 5 images, [\d.]+ MPixel in [\d.]+ s")
        (self.folder / "2.png").write_bytes(png(30, 20, [80, 200, 194]))
        self.assertNotEqual(self.upscale(3, 1, *self.NAMES)[1], expected)

    def test_one_bad_file_on_several_ranks(self):
        (self.folder / "bad.png").write_text("no image", encoding="utf-8")
        for ranks in (1, 3):
            text, results = self.upscale(ranks, 1, "1.png", "bad.png", "2.png", code=3)
            self.assertEqual(sorted(results), ["1.png", "2.png"])
            self.assertEqual(text.count("gentrain: bad.png is no image"), 1, text)
            self.assertIn("2 of 3 images", text)

    def test_other_images_on_one_rank(self):
        command = ('i=1.png; test "$OMPI_COMM_WORLD_RANK" = 1 && i=2.png; '
                   'exec "$0" upscale srgan/model.h5 $i --out out')
        result = run(["sh", "-c", command, PROGRAM], 3, 60.0, cwd=self.folder, mpirun=MPIRUN)
        self.assertEqual(result.code, 5, result)
        self.assertRegex(result.output,
                         r"rank 1 .* runs with another list of images than rank 0")
        self.assertEqual(list((self.folder / "out").iterdir()), [])

    def test_memory_does_not_grow_with_the_height(self):
        """Beyond the pixels of the image itself."""
        peaks = []
        for height in (1500, 6000):
            (self.folder / "x.png").write_bytes(png(height, 150, [height % 256, 1, 2]))
            text, _ = self.upscale(1, 1, "x.png")
            peaks.append(int(re.search(r"peak memory (\d+) MiB", text)[1]))
        self.assertLess(peaks[1], peaks[0] + 16, peaks)  # the results differ by 31 MiB


class LargeImage(Enlarging):
    def test_takes_the_memory_that_is_documented(self):
        """6000 x 4000 pixels, whose result has 1,099 MiB."""
        (self.folder / "x.png").write_bytes(png(4000, 6000, [90, 160, 40]))
        text, results = self.upscale(1, 2, "x.png", limit=110.0)
        self.assertEqual(results["x.png"][16:24], struct.pack(">II", 24000, 16000))
        self.assertLess(int(re.search(r"peak memory (\d+) MiB", text)[1]), 330, text)


class Models(SameBytes):
    """What must be equal or differ beside ranks and threads."""

    DIGITS = ("data={source: digits, train_count: 300, test_count: 50}", "batch={global: 64}",
              "stop={epochs: 1}")

    def test_lenet_layer_by_layer(self):
        built_in = self.hashes("lenet_mnist.yaml", 1, 2, *self.DIGITS)
        layers = self.hashes("lenet_layers.yaml", 3, 1, *self.DIGITS)
        self.assertEqual(layers, built_in)

    def test_what_gives_other_bytes(self):
        weights = {}
        for setting in ("seed=1", "seed=2", "batch={global: 64, shards: 8}", "optimizer.lr=0.11"):
            weights[setting] = self.hashes("tiny/lenet.yaml", 1, 1, setting)["weights_sha256"]
        self.assertEqual(len(set(weights.values())), len(weights), weights)

    def test_the_sum_of_a_library(self):
        canonical = self.summary("tiny/lenet.yaml", 3, 1)
        library = self.summary("tiny/lenet.yaml", 3, 1, "exchange=library")
        loss = "loss_mean_500"
        self.assertAlmostEqual(library["train"][loss], canonical["train"][loss], delta=1e-3)
        self.assertNotEqual(library["weights_sha256"], canonical["weights_sha256"])


@unittest.skipUnless((Path(os.environ.get("GENTRAIN_DATA", "/nowhere")) / "mnist").is_dir(),
                     "GENTRAIN_DATA has no MNIST")
class Mnist(SameBytes):
    def test_two_epochs(self):
        same = self.assert_same("lenet_mnist.yaml", [(1, 2), (3, 1), (16, 1)], "stop={epochs: 2}")
        self.assertEqual(same["metrics"]["samples"], 10000)


LFW = Path(os.environ.get("GENTRAIN_DATA", "/nowhere")) / "lfw"


@unittest.skipUnless(LFW.is_dir(), "GENTRAIN_DATA has no photographs of faces")
class Faces(SameBytes):
    """Faces out of real photographs, prepared by any number of ranks and threads, once for all runs."""

    def setUp(self):
        super().setUp()
        (self.folder / "lfw/Bad").mkdir(parents=True)
        (self.folder / "lfw/Bad/0.jpg").write_text("no image", encoding="utf-8")
        for person in sorted(LFW.iterdir())[:6]:
            (self.folder / "lfw" / person.name).symlink_to(person)

    def prepare(self, ranks, threads, *settings):
        """The hashes of what a preparation writes."""
        words = [word for setting in ("data.folder=lfw", "output=out", "data.faces.test_share=0.4",
                                      f"threads={threads}", *settings) for word in ("--set", setting)]
        result = run([PROGRAM, JOBS / "prepare_lfw.yaml", *words], ranks, 60.0, cwd=self.folder,
                     mpirun=MPIRUN)
        self.assertEqual(result.code, 0, result)
        self.assertRegex(result.output, r"\d+ of \d+ photographs are kept: .*, 1 unreadable\n")
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest()
                for file in (self.folder / "out").iterdir()}

    def test_prepared_by_ranks_and_threads(self):
        same = self.prepare(1, 1)
        self.assertEqual(sorted(same), ["report.json", "test.h5", "train.h5"])
        for ranks, threads in ((1, 2), (2, 1), (3, 2), (5, 1)):
            with self.subTest(ranks=ranks, threads=threads):
                self.assertEqual(self.prepare(ranks, threads), same)
        self.assertNotEqual(self.prepare(2, 1, "data.faces.margin=1.5"), same)

    def test_runs_at_once_prepare_once(self):
        data = json.dumps({"source": "lfw", "folder": "lfw", "cache": "cache",
                           "normalize": {"train": {"mean": 0, "std": 1}},
                           "faces": {"size": 16, "test_share": 0.4}})
        outputs = []

        def train(name, ranks):
            words = [word for setting in (f"data={data}", f"output={name}", "stop={steps: 2}",
                                          "batch={global: 4, shards: 4}")
                     for word in ("--set", setting)]
            result = run([PROGRAM, JOBS / "tiny/vae.yaml", *words], ranks, 90.0, cwd=self.folder,
                         mpirun=MPIRUN)
            self.assertEqual(result.code, 0, result)
            outputs.append(result.output)

        runs = [threading.Thread(target=train, args=(f"run{ranks}", ranks)) for ranks in (1, 2, 3)]
        for one in runs:
            one.start()
        for one in runs:
            one.join()
        self.assertEqual(sum("faces of lfw: prepared in " in output for output in outputs), 1, outputs)
        self.assertEqual(sum("faces of lfw: prepared before, taken from the cache" in output
                             for output in outputs), 2, outputs)
        weights = {json.loads((self.folder / f"run{ranks}/summary.json").read_text(encoding="utf-8"))
                   ["weights_sha256"] for ranks in (1, 2, 3)}
        self.assertEqual(len(weights), 1)
        self.assertEqual(len(list((self.folder / "cache").iterdir())), 2)
        listed = run([PROGRAM, "cache", "--folder", "cache"], 1, 60.0, cwd=self.folder).output
        self.assertEqual(listed.count("  faces  "), 2, listed)


if __name__ == "__main__":
    unittest.main(verbosity=2)
