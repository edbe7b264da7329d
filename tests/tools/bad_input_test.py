#!/usr/bin/env python3
"""Bad input of every kind, given to the built program on one rank and on three: the message says what is
wrong, all ranks end within ten seconds, the exit code is the documented one.

usage: GENTRAIN=PROGRAM MPIRUN=mpirun bad_input_test.py [CLASS...]
"""

import gzip
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import unittest

from program_case import BAD_FILE, JOB, MPIRUN, NO_DEVICE, NOT_FINITE, PROGRAM, ProgramTest, RANK_TROUBLE, USAGE


def write_idx(folder, train=32, test=8, grey=64):
    """The four MNIST files with images of one grey."""
    folder.mkdir(parents=True)
    for name, count in (("train", train), ("t10k", test)):
        images = struct.pack(">IIII", 0x803, count, 28, 28) + bytes([grey]) * (count * 784)
        labels = struct.pack(">II", 0x801, count) + bytes(i % 10 for i in range(count))
        (folder / f"{name}-images-idx3-ubyte").write_bytes(images)
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(labels)


def can_mount():
    """Whether this user may make mounts of its own."""
    try:
        return subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"],
                              capture_output=True, check=False).returncode == 0
    except OSError:
        return False


class JobFiles(ProgramTest):
    def test_a_good_job_runs(self):
        for ranks in (1, 3):
            result = self.train(ranks=ranks)
            self.assertEqual(result.code, 0, result)

    def test_unknown_key(self):
        self.write("job.yaml", JOB + "optimzer: {lr: 0.1}\n")
        self.each_ranks(lambda ranks: self.train(ranks=ranks), USAGE,
                        r"job.yaml:6:1: unknown key 'optimzer' in the job \(did you mean 'optimizer'\?\)")

    def test_a_tab_hides_no_other_error(self):
        self.write("job.yaml", JOB.replace("stop: {steps: 2}", "stop:\n\tsteps: 2") + "bach: 3\n")
        self.each_ranks(lambda ranks: self.train(ranks=ranks), USAGE,
                        r"(?s)job.yaml:5:1: tab in leading white space.*job.yaml:7:1: unknown key 'bach'")

    def test_numbers_that_are_too_large(self):
        for key, column in (("batch: {global: ", 17), ("evaluate: {batch: ", 19),
                            ("log: {every: ", 14), ("schedule: {warmup: ", 20)):
            self.write("job.yaml", JOB.replace("batch: {global: 32, shards: 16}\n", "")
                       + key + "9223372036854775807}\n")
            with self.subTest(key=key):
                self.assert_refused(self.train(), USAGE, rf"job.yaml:5:{column}: [a-z.]+ is "
                                    "9223372036854775807 but must be at least [01] and at most ")
        self.write("job.yaml", JOB.replace("steps: 2", "epochs: 9223372036854775807"))
        self.each_ranks(lambda ranks: self.train(ranks=ranks), USAGE,
                        "job.yaml:4:16: stop.epochs is 9223372036854775807 but must be ")

    def test_a_network_that_is_too_large(self):
        self.write("job.yaml", JOB.replace(
            "model: lenet", "model:\n  layers:\n    - {conv: {out: 10000000, kernel: 100000, "
            "padding: 100000}}\n    - flatten\n    - {linear: 10}"))
        self.each_ranks(lambda ranks: self.train(ranks=ranks), USAGE,
                        r"job.yaml:5:\d+: layer 1 \(conv\): 10000000 x 100000 x 100000 x 1 weights are "
                        "too many")

    def test_more_data_than_memory(self):
        script = ('ulimit -v 4000000; exec "$0" job.yaml --set data.train_count=10000000 '
                  '--set batch.global=64')
        self.assert_refused(self.gentrain(command=["sh", "-c", script, PROGRAM]), NO_DEVICE,
                            "gentrain: there is not enough memory")

    def test_what_this_version_has_not(self):
        for line, message in (("precision: bf16", "precision is bf16, but this version has no bf16 products"),
                              ("device: cuda", "device is cuda, but this build has no CUDA backend")):
            self.write("job.yaml", JOB + line + "\n")
            with self.subTest(line=line):
                self.each_ranks(lambda ranks: self.train(ranks=ranks), USAGE,
                                f"job.yaml:6:1: {message}")

    def test_a_validation_set_without_images(self):
        self.each_ranks(lambda ranks: self.train("data.validation=0.001", ranks=ranks), USAGE,
                        "data.validation: a fraction of 0.001 of 64 samples leaves 64 for training and "
                        "0 for validation")

    def test_a_pool_with_too_much_padding(self):
        self.write("job.yaml", JOB.replace(
            "model: lenet", "model:\n  layers:\n    - {max_pool: {size: 2, padding: 2}}\n"
            "    - flatten\n    - {linear: 10}"))
        self.each_ranks(lambda ranks: self.train(ranks=ranks), USAGE,
                        r"job.yaml:5:\d+: layer 1 \(max_pool\): its padding \[2, 2\] is not smaller "
                        "than its 2x2 window")

    def test_an_error_is_one_write(self):
        end, pipe = os.pipe2(os.O_DIRECT)  # what is written at once is read at once
        with subprocess.Popen([PROGRAM, "other.yaml"], cwd=self.folder, stderr=pipe) as process:
            os.close(pipe)
            self.assertEqual(os.read(end, 4096), b"gentrain: other.yaml: there is no such job file\n")
            self.assertEqual(os.read(end, 4096), b"")
        os.close(end)
        self.assertEqual(process.returncode, USAGE)

    def test_missing_job(self):
        self.each_ranks(lambda ranks: self.gentrain("other.yaml", ranks=ranks), USAGE,
                        "other.yaml: there is no such job file")

    def test_layers_that_do_not_fit(self):
        self.write("job.yaml", JOB.replace("model: lenet", "model:\n  layers:\n    - {linear: 10}"))
        self.each_ranks(lambda ranks: self.train(ranks=ranks), USAGE,
                        r"job.yaml:5:\d+: layer 1 \(linear\): needs a row of numbers")


class Data(ProgramTest):
    """Files of a small MNIST, one of them damaged."""

    def setUp(self):
        super().setUp()
        self.mnist = self.folder / "data" / "mnist"
        write_idx(self.mnist)
        self.images = self.mnist / "train-images-idx3-ubyte"
        self.labels = self.mnist / "train-labels-idx1-ubyte"

    def refused(self, message, *settings):
        self.each_ranks(lambda ranks: self.train("data={source: mnist}", *settings, ranks=ranks),
                        BAD_FILE, message)

    def test_whole_files_are_read(self):
        for ranks in (1, 3):
            result = self.train("data={source: mnist}", ranks=ranks)
            self.assertEqual(result.code, 0, result)

    def test_missing(self):
        shutil.rmtree(self.mnist)
        self.refused("MNIST is not there: .* was looked for in .*no_data/mnist, data/mnist.*"
                     "GENTRAIN_DATA or data.folder")

    def test_one_of_four_is_missing(self):
        self.labels.unlink()
        self.refused("train-labels-idx1-ubyte is missing, and so is train-labels-idx1-ubyte.gz")

    def test_missing_on_one_rank(self):
        script = ('test "$OMPI_COMM_WORLD_RANK" = 1 && cd elsewhere; '
                  'exec "$0" "$PWD_OF_JOB/job.yaml" --set "data={source: mnist}" '
                  '--set "output=$PWD_OF_JOB/out"')
        (self.folder / "elsewhere").mkdir()
        result = self.gentrain(command=["sh", "-c", script, PROGRAM], ranks=3,
                               env={"PWD_OF_JOB": str(self.folder)})
        self.assert_refused(result, BAD_FILE, r"gentrain: rank 1 \(.*\): MNIST is not there")
        log = (self.folder / "out/log.txt").read_text(encoding="utf-8")
        self.assertRegex(log, r"rank 1 \(.*\): MNIST is not there")

    def test_truncated(self):
        self.images.write_bytes(self.images.read_bytes()[:-1])
        self.refused("train-images-idx3-ubyte: is truncated: .* 25088 were needed")

    def test_wrong_magic(self):
        self.images.write_bytes(b"\x89PNG" + self.images.read_bytes()[4:])
        self.refused("train-images-idx3-ubyte: its magic number is 0x89504e47, 0x00000803 was needed")

    def test_wrong_count(self):
        labels = self.labels.read_bytes()
        self.labels.write_bytes(struct.pack(">II", 0x801, 31) + labels[8:-1])
        self.refused("train-images-idx3-ubyte holds 32 images but .*train-labels-idx1-ubyte holds 31")

    def test_label_out_of_range(self):
        labels = bytearray(self.labels.read_bytes())
        labels[8 + 17] = 10
        self.labels.write_bytes(labels)
        self.refused("train-labels-idx1-ubyte: label 17 is 10, from 0 to 9 were expected")

    def test_gzip_cut_short(self):
        packed = gzip.compress(self.images.read_bytes())
        self.images.unlink()
        (self.mnist / "train-images-idx3-ubyte.gz").write_bytes(packed[:len(packed) // 2])
        self.refused("train-images-idx3-ubyte.gz: its gzip data is cut short")

    def test_hdf5_file_that_is_none(self):
        self.refused("x.h5 is missing", "data={source: hdf5, train_file: x.h5, test_file: x.h5}")
        self.write("x.h5", "no HDF5")
        self.refused("x.h5", "data={source: hdf5, train_file: x.h5, test_file: x.h5}")


class Output(ProgramTest):
    def test_holds_a_run(self):
        first = self.gentrain("job.yaml")
        self.assertEqual(first.code, 0, first)
        files = [self.folder / "runs/job" / name for name in
                 ("summary.json", "status.json", "log.txt", "metrics.jsonl", "model.h5")]
        before = [file.read_bytes() for file in files]
        advice = "start anew over it with --overwrite, or write elsewhere with --set output=FOLDER"
        self.each_ranks(lambda ranks: self.gentrain("job.yaml", "--set", "seed=5", ranks=ranks), USAGE,
                        rf"runs/job holds a run of another job \(seed: \d there, 5 here\): {advice}")
        self.each_ranks(lambda ranks: self.gentrain("job.yaml", "--resume", "never", ranks=ranks),
                        USAGE, f"runs/job holds a run already: {advice}")
        again = self.gentrain("job.yaml")
        self.assertEqual(again.code, 0, again)
        self.assertIn("runs/job holds this run, finished: there is nothing to do", again.output)
        self.assertEqual([file.read_bytes() for file in files], before)

    def test_a_refused_run_leaves_an_earlier_one(self):
        self.assertEqual(self.gentrain("job.yaml").code, 0)
        files = sorted(file for file in (self.folder / "runs/job").rglob("*") if file.is_file())
        before = [file.read_bytes() for file in files]
        for settings, ranks in ((["data={source: mnist}"], 1), (["batch.shards=2"], 3)):
            self.assertNotEqual(self.train(*settings, ranks=ranks).code, 0)
        after = sorted(file for file in (self.folder / "runs/job").rglob("*") if file.is_file())
        self.assertEqual(after, files)
        self.assertEqual([file.read_bytes() for file in files], before)

    def test_a_run_that_never_trained_is_none(self):
        self.assertEqual(self.gentrain("job.yaml", "--set", "data={source: mnist}").code, BAD_FILE)
        status = json.loads((self.folder / "runs/job/status.json").read_text(encoding="utf-8"))
        self.assertEqual((status["state"], status["exit"]), ("failed", BAD_FILE))
        self.assertEqual(self.gentrain("job.yaml").code, 0)

    def test_a_file_in_the_folders_place(self):
        self.write("runs", "a file")
        self.each_ranks(lambda ranks: self.train(ranks=ranks), BAD_FILE,
                        "the output folder runs/job cannot be made: Not a directory")

    def mounted(self, options, ranks):
        """Trains into a tmpfs with these mount options, in a mount namespace of its own."""
        target = self.folder / "mounted"
        target.mkdir(exist_ok=True)
        launcher = f"{MPIRUN} -np {ranks} --oversubscribe --bind-to none " if ranks > 1 else ""
        script = (f"mount -t tmpfs -o {options} none mounted && exec {launcher}\"$0\" job.yaml "
                  "--set output=mounted")
        return self.gentrain(command=["unshare", "-m", "sh", "-c", script, PROGRAM])

    @unittest.skipUnless(can_mount(), "this user may not mount")
    def test_read_only_mount(self):
        self.each_ranks(lambda ranks: self.mounted("ro", ranks), BAD_FILE,
                        "the output folder mounted cannot be written to: Read-only file system")

    @unittest.skipUnless(can_mount(), "this user may not mount")
    def test_full_disk(self):
        self.each_ranks(lambda ranks: self.mounted("size=64k", ranks), BAD_FILE,
                        "mounted: 0.1 MiB are free, but two checkpoints take 0.2 MiB: make room")

    def test_standard_output_on_a_full_disk(self):
        self.assertEqual(self.train().code, 0)
        for words in ("list keys", "list", "--version", "--help", "check job.yaml",
                      "bench job.yaml --steps 1 --warmup 0", "job.yaml --overwrite",
                      "eval runs/job/model.h5 digits", "predict runs/job/model.h5 digits -n 1",
                      "predict runs/job/model.h5 digits --format csv", "verify runs/job/model.h5"):
            with self.subTest(words=words):
                result = self.gentrain(command=["sh", "-c", f'exec "$0" {words} > /dev/full', PROGRAM])
                self.assert_refused(result, BAD_FILE, "what was printed is lost: standard output cannot "
                                                      "be written to")


class Ranks(ProgramTest):
    def by_rank(self, one, others, ranks=3):
        """Rank 1 executes one command, the other ranks another."""
        script = f'if [ "$OMPI_COMM_WORLD_RANK" = 1 ]; then exec {one}; else exec {others}; fi'
        return self.gentrain(command=["sh", "-c", script, PROGRAM], ranks=ranks)

    def test_more_ranks_than_shards(self):
        result = self.train("batch.shards=2", ranks=3)
        self.assert_refused(result, USAGE, "3 ranks but only 2 shards.*start at most 2 ranks, or set "
                                           "batch.shards to 3 or more")

    def test_another_job_on_one_rank(self):
        result = self.by_rank('"$0" job.yaml --set seed=2', '"$0" job.yaml')
        self.assert_refused(result, RANK_TROUBLE,
                            r"rank 1 \(.*\) runs with another job than rank 0 \(.*\): ")

    def test_another_stop_on_one_rank(self):
        result = self.by_rank('"$0" job.yaml --set stop.steps=3', '"$0" job.yaml')
        self.assert_refused(result, RANK_TROUBLE, "rank 1 .* runs with another job than rank 0")
        for option in ("--steps 3", "--warmup 3", "--forward", "--stage train"):
            with self.subTest(option=option):
                result = self.by_rank(f'"$0" bench job.yaml {option}', '"$0" bench job.yaml')
                self.assert_refused(result, RANK_TROUBLE,
                                    "rank 1 .* runs with another job than rank 0")

    def test_other_data_on_one_rank(self):
        self.assertEqual(self.train().code, 0)
        for folder, grey in (("a", 64), ("b", 65)):
            write_idx(self.folder / folder / "mnist", grey=grey)
        for job in ("exec \"$0\" job.yaml --overwrite --set 'data={source: mnist}'",
                    "exec \"$0\" eval runs/job/model.h5"):
            with self.subTest(job=job):
                command = f'd=a; test "$OMPI_COMM_WORLD_RANK" = 1 && d=b; export GENTRAIN_DATA=$d; {job}'
                result = self.gentrain(command=["sh", "-c", command, PROGRAM], ranks=3)
                self.assert_refused(result, RANK_TROUBLE,
                                    r"rank 1 .* runs with another data set than rank 0")

    def test_rank_0_chooses_the_data_of_all(self):
        write_idx(self.folder / "a/mnist")
        command = ('test "$OMPI_COMM_WORLD_RANK" = 1 && export GENTRAIN_DATA=b || export GENTRAIN_DATA=a; '
                   'exec "$0" job.yaml --set "data={source: auto}"')
        result = self.gentrain(command=["sh", "-c", command, PROGRAM], ranks=3)
        self.assert_refused(result, BAD_FILE, r"rank 1 \(.*\): MNIST is not there")

    def test_another_contract_on_one_rank(self):
        result = self.by_rank('"$0" job.yaml --set batch.shards=8', '"$0" job.yaml')
        self.assert_refused(result, RANK_TROUBLE, "rank 1 .* runs with another contract than rank 0")

    def test_another_program_on_one_rank(self):
        copy = self.folder / "gentrain_copy"
        shutil.copy(PROGRAM, copy)
        with copy.open("ab") as file:
            file.write(b"x")
        result = self.by_rank('./gentrain_copy job.yaml', '"$0" job.yaml')
        self.assert_refused(result, RANK_TROUBLE,
                            "rank 1 .* runs with another gentrain program than rank 0")

    def test_one_rank_ends_before_it_begins(self):
        result = self.by_rank('false', '"$0" job.yaml')
        self.assertNotEqual(result.code, 0, result)

    def test_one_rank_is_killed(self):
        script = ('if [ "$OMPI_COMM_WORLD_RANK" = 1 ]; then '
                  '(sleep 1.5; kill -9 $$) & fi; exec "$0" job.yaml --set stop.steps=1000000')
        result = self.gentrain(command=["sh", "-c", script, PROGRAM], ranks=3)
        self.assertNotEqual(result.code, 0, result)
        self.assertIn("signal 9", result.output)


class Training(ProgramTest):
    def test_a_loss_that_is_not_finite(self):
        self.each_ranks(lambda ranks: self.train("optimizer.lr=1e300", "stop.steps=9", ranks=ranks),
                        NOT_FINITE,
                        r"the loss is (nan|-?inf) at step \d \(epoch \d\); the first tensor that is "
                        r"not finite: conv1/weight")

    def test_the_last_step_is_not_finite(self):
        result = self.train("optimizer.lr=1e300", "stop.steps=1")
        self.assert_refused(result, NOT_FINITE, r"the loss of the evaluation is (nan|inf) at step 1 \(epoch 1\);"
                                                r" the first tensor that is not finite: conv1/weight")
        self.assertFalse((self.folder / "runs/job/model.h5").exists())

    def test_constants_that_give_no_finite_pixels(self):
        self.each_ranks(lambda ranks: self.train("data.normalize={train: {mean: 0, std: 1e-44}}",
                                                 ranks=ranks),
                        USAGE, "data.normalize.train: mean 0 and std 1e-44 give pixels that are not finite")

    def test_errors_are_in_the_runs_folder(self):
        for ranks in (1, 3):
            self.train("optimizer.lr=1e300", "stop.steps=9", ranks=ranks)
            log = (self.folder / "runs/job/log.txt").read_text(encoding="utf-8")
            self.assertRegex(log, r"rank 0 \(.*\): the loss is")
            status = json.loads((self.folder / "runs/job/status.json").read_text(encoding="utf-8"))
            self.assertEqual((status["state"], status["exit"]), ("failed", NOT_FINITE))
            self.assertGreaterEqual(status["step"], 1)
            self.assertFalse((self.folder / "runs/job/summary.json").exists())


class ModelFiles(ProgramTest):
    """A trained model, damaged in some way, given to the verbs that read one."""

    def setUp(self):
        super().setUp()
        result = self.train()
        self.assertEqual(result.code, 0, result)
        self.model = self.folder / "runs/job/model.h5"
        self.bytes = bytearray(self.model.read_bytes())

    def rewrite(self, change, sealed):
        """Changes the file; `sealed`: with the hash that the changed content has."""
        content = bytearray(self.bytes)
        content = change(content) or content
        if sealed:
            block = content.index(b"\x89HDF\r\n\x1a\n")
            digest = hashlib.sha256(content[block:]).hexdigest().encode()
            content[:block] = re.sub(rb"sha256 [0-9a-f]{64}", b"sha256 " + digest,
                                     bytes(content[:block]))
        self.model.write_bytes(content)

    def refused(self, message, code=BAD_FILE, verbs=("eval", "predict", "verify")):
        for verb in verbs:
            with self.subTest(verb=verb):
                self.assert_refused(self.gentrain(verb, str(self.model)), code, message)

    def replace(self, old, new):
        """A change that replaces one text by another of the same length."""
        def change(content):
            self.assertIn(old, content)
            self.assertEqual(len(old), len(new))
            return content.replace(old, new)
        return change

    def test_a_whole_one_is_taken(self):
        for verb in ("eval", "predict", "verify"):
            result = self.gentrain(verb, str(self.model), *(["digits"] if verb == "eval" else []))
            self.assertEqual(result.code, 0, result)

    def test_missing(self):
        self.model.unlink()
        self.refused("model.h5")

    def test_flipped_bit(self):
        def flip(content):
            content[len(content) // 2] ^= 1
        self.rewrite(flip, False)
        self.refused("model.h5.* its SHA-256 is [0-9a-f]{64}, written was [0-9a-f]{64}")

    def test_truncated(self):
        self.rewrite(lambda content: content[:-100], False)
        self.refused(rf"model.h5:? is truncated: {len(self.bytes) - 100} bytes of {len(self.bytes)}")
        self.rewrite(lambda content: content[:10], False)
        self.refused("model.h5:? is ")

    def test_newer_format(self):
        self.rewrite(self.replace(b"format 1\n", b"format 2\n"), False)
        self.refused("model.h5:? has format 2, this program reads formats up to 1: take a newer gentrain")

    def test_no_model(self):
        self.write("runs/job/model.h5", "something else entirely" * 1000)
        self.refused("model.h5")

    def test_of_another_network(self):
        self.rewrite(self.replace(b'"image":[28,28,1]', b'"image":[26,28,1]'), True)
        self.refused(r"model.h5: holds fc1/weight \[100, 192\] where the network has fc1/weight ",
                     verbs=("eval", "predict"))
        self.rewrite(self.replace(b'{"name":"lenet"}', b'{"name":"renet"}'), True)
        self.refused(r"model.h5: model: there is no 'renet' \(known: lenet, vae, vae_conv, srgan, inception_v3, vgg16, vgg19, squeezenet\)", verbs=("eval", "predict"))

    def test_another_model_on_one_rank(self):
        self.assertEqual(self.train("seed=2", "output=other").code, 0)
        command = 'm=runs/job; test "$OMPI_COMM_WORLD_RANK" = 1 && m=other; exec "$0" eval $m/model.h5 digits'
        result = self.gentrain(command=["sh", "-c", command, PROGRAM], ranks=3)
        self.assert_refused(result, RANK_TROUBLE, "rank 1 .* runs with another model than rank 0")

    def test_on_three_ranks(self):
        self.rewrite(lambda content: content[:-100], False)
        result = self.gentrain("eval", str(self.model), ranks=3)
        self.assert_refused(result, BAD_FILE, "is truncated")


if __name__ == "__main__":
    unittest.main(verbosity=2)
