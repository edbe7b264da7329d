#!/usr/bin/env python3
"""Bad folders and packs of images, and bad weights of SRGAN's content network, given to the built program on one rank
and on three: the message says what is wrong, all ranks end within ten seconds, the exit code is the documented one.

usage: GENTRAIN=PROGRAM MPIRUN=mpirun bad_images_test.py [CLASS...]
"""

import json
import os
import shutil
import struct
import subprocess
import sys
import unittest
import zlib
from pathlib import Path

from program_case import BAD_FILE, MPIRUN, PROGRAM, ProgramTest, RANK_TROUBLE, USAGE
from program_runs import png

# 16 x 8 pixels: the left half red, the right half blue.
JPEG = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb00430001010101010101010101010101010101010101010101010101"
    "010101010101010101010101010101010101010101010101010101010101010101010101010101ffdb004301010101010101"
    "0101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101"
    "0101010101010101ffc00011080008001003012200021101031101ffc4001500010100000000000000000000000000000009"
    "ffc40014100100000000000000000000000000000000ffc40014010100000000000000000000000000000009ffc400191100"
    "020301000000000000000000000000000a4887c788ffda000c03010002110311003f008be90e054165e6c7376f6350c3310e"
    "fec50fffd9")
JPEG_FRAME = slice(158, 177)  # its segment
JPEG_EXTENTS = slice(163, 167)
JPEG_CHANNELS = 167  # where their number stands
NOBODY = "65534"
KERAS_WRITER = Path(__file__).parent / "write_keras_weights.py"


def in_cmyk(jpeg):
    """With a fourth channel, of which there are no pixels: what is told by the frame's segment is enough."""
    return jpeg[:JPEG_CHANNELS] + b"\4" + jpeg[JPEG_CHANNELS + 1:]


def with_extents(image, h, w):
    """A PNG that says that it has so many pixels, and has not."""
    head = b"IHDR" + struct.pack(">II", w, h) + image[24:29]
    return image[:12] + head + struct.pack(">I", zlib.crc32(head)) + image[33:]


def can_be_nobody():
    """Whether this user may run the program as another one, to whom permissions matter."""
    try:
        return os.geteuid() == 0 and subprocess.run(as_nobody(PROGRAM, "--version"), capture_output=True,
                                                    check=False).returncode == 0
    except OSError:
        return False


def as_nobody(*command):
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]


class FileTest(ProgramTest):
    def refused(self, message, *settings, code=BAD_FILE):
        self.each_ranks(lambda ranks: self.train(*settings, ranks=ranks), code, message)


class ImageTest(FileTest):
    """A folder of two classes of eight images."""

    JOB = """\
batch: {global: 6, shards: 3}
data: {source: folder, folder: set, size: [12, 12], validation: 0.25}
model: {layers: [flatten, {linear: 2}]}
stop: {epochs: 1}
threads: 1
"""

    def setUp(self):
        super().setUp()
        self.write_set("set")

    def write_set(self, name, side=12):
        """Images of one colour each."""
        for i in range(16):
            path = self.folder / name / "ab"[i % 2] / f"{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(side, side, [15 * i, 255 - 15 * i, 90]))

    def bad(self, content, name="set/a/04.png"):
        (self.folder / name).write_bytes(content)

    def trained(self, *settings, ranks=1):
        """What is printed, and the hash of the weights."""
        result = self.train(*settings, ranks=ranks)
        self.assertEqual(result.code, 0, result)
        return result.output, self.written("summary.json")["weights_sha256"]

    def written(self, name):
        return json.loads((self.folder / "runs/job" / name).read_text(encoding="utf-8"))

    def pack(self, *options, code=0):
        result = self.gentrain("pack", "set", "set.h5", *options)
        self.assertEqual(result.code, code, result)
        return result.output


class Images(ImageTest):
    """Files that are bad, or of another size."""

    def test_whole_images_are_read(self):
        self.bad(JPEG, "set/a/99.jpg")
        hashes = {self.trained(ranks=ranks)[1] for ranks in (1, 3)}
        self.assertEqual(len(hashes), 1)

    def test_a_truncated_jpeg(self):
        for size, needed in ((len(JPEG) - 7, "without a JPEG's end marker"), (100, "at least 158 are needed")):
            self.bad(JPEG[:size], "set/b/99.jpg")
            with self.subTest(size=size):
                self.refused(f"set/b/99.jpg is truncated: {size} bytes,? {needed}")

    def test_a_text(self):
        self.bad(b"no image", "set/b/99.jpg")
        self.refused("set/b/99.jpg is no image: JPEG, PNG, BMP and WebP are read, it begins with the bytes "
                     "6e 6f 20 69 6d 61 67 65")

    def test_an_empty_file(self):
        self.bad(b"", "set/b/99.webp")
        self.refused("set/b/99.webp is empty")

    def test_a_jpeg_in_cmyk(self):
        self.bad(in_cmyk(JPEG), "set/b/99.jpeg")
        self.refused("set/b/99.jpeg is a JPEG in CMYK; grey and RGB are read: convert it")

    def test_a_jpeg_of_two_frames(self):
        huge = JPEG[:JPEG_EXTENTS.start] + struct.pack(">HH", 65535, 16384) + JPEG[JPEG_EXTENTS.stop:]
        self.bad(huge[:-2] + JPEG[JPEG_FRAME] + huge[-2:], "set/b/99.jpg")
        self.refused("set/b/99.jpg is a damaged JPEG: it has two frames")

    def test_more_pixels_than_the_limit(self):
        self.bad(with_extents(png(1, 1, [1, 2, 3]), 65535, 65535))
        self.refused("set/a/04.png: 65535 x 65535 pixels are more than the limit of 134217728")

    def test_fewer_pixels_than_the_header_says(self):
        self.bad(with_extents(png(1, 1, [1, 2, 3]), 300, 300))
        self.refused("set/a/04.png is damaged: its pixels cannot be decoded")

    def test_bad_files_are_left_out(self):
        self.bad(JPEG[:200], "set/a/97.jpg")
        self.bad(b"", "set/a/98.jpg")
        self.bad(b"no image", "set/b/99.jpg")
        skip = "data.on_bad_file=skip"
        hashes = set()
        for ranks in (1, 3):
            text, weights = self.trained(skip, ranks=ranks)
            self.assertRegex(text, "left out 3 of 19 images: set/a/97.jpg is truncated.*; set/a/98.jpg is empty; "
                                   "set/b/99.jpg is no image")
            left_out = self.written("environment.json")["images_left_out"]
            self.assertEqual([reason.split()[0] for reason in left_out],
                             ["set/a/97.jpg", "set/a/98.jpg", "set/b/99.jpg"])
            hashes.add(weights)
        for name in ("a/97.jpg", "a/98.jpg", "b/99.jpg"):
            (self.folder / "set" / name).unlink()
        hashes.add(self.trained()[1])
        self.assertEqual(len(hashes), 1, "left out is as if never there")

    def test_all_of_a_class_are_bad(self):
        for path in (self.folder / "set/b").iterdir():
            path.write_bytes(b"")
        self.refused("set/b: none of the images of the class can be read", "data.on_bad_file=skip")

    def test_smaller_images_are_enlarged(self):
        """Of one colour, so that interpolation between them gives what larger ones are."""
        expected = self.trained()[1]
        for side in (1, 7):
            self.write_set("set", side)
            for ranks in (1, 3):
                self.assertEqual(self.trained(ranks=ranks)[1], expected)
        self.bad(png(12, 12, [0, 0, 0]))
        self.assertNotEqual(self.trained()[1], expected)


class ImageFolders(ImageTest):
    """Folders that are bad, for all ranks or for one."""

    def test_a_folder_without_images(self):
        (self.folder / "none").mkdir()
        self.refused("nowhere: there is no such folder of images", "data.folder=nowhere")
        self.refused("none: the folder holds no images: files named .jpg, .jpeg, .png, .bmp or .webp were "
                     "looked for in it and in its folders", "data.folder=none")
        self.write("none/read.me", "no image")
        self.refused("none: the folder holds no images", "data.folder=none")
        self.refused("none/read.me: is no folder: one of images was expected", "data.folder=none/read.me")
        (self.folder / "set/c").mkdir()
        self.refused("set/c: the class holds no images")
        self.bad(JPEG, "set/d.jpg")
        self.refused("set: holds both folders, as a, and images, as d.jpg")

    def test_a_test_set_of_other_classes(self):
        self.write_set("other")
        (self.folder / "other/b").rename(self.folder / "other/c")
        self.refused(r"other: has the classes 2 \(a, c\), the training set 2 \(a, b\)",
                     "data={source: folder, folder: set, test_folder: other, size: [12, 12]}")

    def permitted(self, ranks):
        """Trains as somebody else than root, who may read everything."""
        launcher = [MPIRUN, "-np", str(ranks), "--oversubscribe", "--bind-to", "none"] if ranks > 1 else []
        command = [*launcher, PROGRAM, "job.yaml", "--overwrite"]
        if os.geteuid() == 0:
            command = as_nobody(*command)
        return self.gentrain(command=command, env={"HOME": str(self.folder)})

    @unittest.skipUnless(os.geteuid() != 0 or can_be_nobody(), "root may read everything, and cannot be another user")
    def test_without_permission(self):
        self.folder.chmod(0o777)
        for name in ("set", "set/b"):
            path = self.folder / name
            path.chmod(0)
            self.each_ranks(self.permitted, BAD_FILE, f"{name}: the folder cannot be read: Permission denied")
            path.chmod(0o755)
        (self.folder / "hidden").mkdir()
        (self.folder / "set").rename(self.folder / "hidden/set")
        (self.folder / "set").symlink_to("hidden/set")
        (self.folder / "hidden").chmod(0)
        self.each_ranks(self.permitted, BAD_FILE, "set: it cannot be looked for: Permission denied")
        (self.folder / "hidden").chmod(0o755)
        (self.folder / "set/b/03.png").chmod(0)
        self.each_ranks(self.permitted, BAD_FILE, "set/b/03.png: open failed: Permission denied")
        (self.folder / "set/b/03.png").chmod(0o644)
        self.assertEqual(self.permitted(3).code, 0)  # the last one: it removes what those that failed have left

    def test_sizes(self):
        self.refused("data.size is missing: set is a folder of images, which are scaled to one size",
                     "data={source: folder, folder: set, validation: 0.25}", code=USAGE)
        self.write("job.yaml", "batch: {global: 6, shards: 3}\nmodel: srgan\nstages: {mse: {stop: {steps: 1}}}\n"
                   "data: {source: folder, folder: set, size: 8, validation: 0.25}\n")
        self.refused("model srgan takes colour images whose height and width are multiples of 4 from 12 on, "
                     r"but they are \[8, 8, 3\]", code=USAGE)

    def by_rank(self, *options):
        """Rank 1 runs in the folder `elsewhere`."""
        (self.folder / "elsewhere").mkdir(exist_ok=True)
        script = ('test "$OMPI_COMM_WORLD_RANK" = 1 && cd elsewhere; exec "$0" "$PWD_OF_JOB/job.yaml" --overwrite '
                  '--set "output=$PWD_OF_JOB/out" "$@"')
        return self.gentrain(command=["sh", "-c", script, PROGRAM, *options], ranks=3,
                             env={"PWD_OF_JOB": str(self.folder)})

    def test_other_images_on_one_rank(self):
        for options in ([], ["--set", "data.on_bad_file=skip"]):
            with self.subTest(options=options):
                self.assert_refused(self.by_rank(*options), BAD_FILE,
                                    r"rank 1 \(.*\): set: there is no such folder of images")
        shutil.copytree(self.folder / "set", self.folder / "elsewhere/set")
        self.assertEqual(self.by_rank().code, 0)
        self.bad(png(12, 12, [0, 0, 0]), "elsewhere/set/a/04.png")
        self.assert_refused(self.by_rank(), RANK_TROUBLE, "rank 1 .* runs with another data set than rank 0")
        self.bad(b"", "elsewhere/set/a/04.png")
        self.assert_refused(self.by_rank(), BAD_FILE, r"rank 1 \(.*\): set/a/04.png is empty")


class Packs(ImageTest):
    def test_a_pack_is_not_made_of_bad_files(self):
        self.bad(b"")
        self.assertIn("set/a/04.png is empty", self.pack(code=BAD_FILE))
        self.assertFalse((self.folder / "set.h5").exists())
        self.assertRegex(self.pack("--on-bad-file", "skip"), "15 images of 2 classes")

    def test_a_pack_with_a_flipped_bit(self):
        self.pack()
        path = self.folder / "set.h5"
        whole = path.read_bytes()
        digests = "its SHA-256 is [0-9a-f]{64}, written was [0-9a-f]{64}"
        for at, said in ((whole.index(bytes([15 * 4, 255 - 15 * 4, 90]) * 144), f": array pixels: {digests}"),
                         (whole.index(struct.pack("<16i", *[0] * 8, *[1] * 8)), f": array labels: {digests}"),
                         (400, " is damaged: its first block is not as it was written")):
            damaged = bytearray(whole)
            damaged[at] ^= 1
            path.write_bytes(damaged)
            with self.subTest(at=at):
                self.refused(f"set.h5{said}", "data.folder=set.h5")
                self.assert_refused(self.gentrain("verify", "set.h5"), BAD_FILE, f"set.h5{said}")
        path.write_bytes(b"G" + whole[1:])
        self.refused(r"set.h5 is no gentrain pack \(it does not begin with the line 'gentrain pack'\)",
                     "data.folder=set.h5")
        path.write_bytes(whole[:-5])
        self.refused(f"set.h5 is truncated: {len(whole) - 5} bytes of {len(whole)}", "data.folder=set.h5")
        path.write_bytes(whole)
        self.assertEqual(self.trained("data.folder=set.h5", ranks=3)[1], self.trained()[1])

    def test_images_of_several_sizes(self):
        self.bad(png(9, 12, [1, 2, 3]))
        self.pack()
        self.refused("set.h5: its images differ in size, as a/00.png with 12 x 12 and a/04.png with 9 x 12: set "
                     "data.size", "data={source: folder, folder: set.h5, validation: 0.25}")


class ContentWeights(FileTest):
    """What SRGAN's content loss is made of."""

    JOB = """\
batch: {global: 4, shards: 4}
data: {source: faces, train_count: 4, test_count: 2}
model: {name: srgan, width: 4, blocks: 1}
init: xavier
content: {weights: vgg.h5, maps: [block1_conv2]}
stages:
  gan: {stop: {steps: 1}, optimizer: {name: adam}}
samples: {every: never}
threads: 1
"""

    def write_weights(self, wrong):
        for python in (sys.executable, "/usr/bin/python3"):
            if subprocess.run([python, "-c", "import h5py"], capture_output=True, check=False).returncode == 0:
                subprocess.run([python, KERAS_WRITER, self.folder / "vgg.h5", wrong], check=True)
                return
        self.skipTest("no python3 has h5py")

    def test_whole_weights_are_read(self):
        self.write_weights("whole")
        for ranks in (1, 3):
            result = self.train(ranks=ranks)
            self.assertEqual(result.code, 0, result)
            self.assertRegex(result.output, r"content: weights of vgg.h5 \([0-9a-f]{64}\)")

    def test_missing(self):
        self.refused(r"vgg.h5 is missing: a Keras weights file \(.h5\) was looked for")
        self.refused(r"the weights of the content loss are not there: vgg19\*.h5 was looked for in "
                     r".*no_data/weights, data/weights\. Put the file of Keras Applications "
                     r"\(vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5\) into one of them",
                     "content={maps: [block1_conv2]}")

    def test_no_weights(self):
        self.write("vgg.h5", "no HDF5")
        self.refused("vgg.h5: it is no HDF5 file")
        (self.folder / "vgg.h5").unlink()
        (self.folder / "vgg.h5").mkdir()
        self.refused("vgg.h5: it is no regular file")

    def test_truncated(self):
        self.write_weights("whole")
        path = self.folder / "vgg.h5"
        size = path.stat().st_size - 1000
        os.truncate(path, size)
        self.refused(rf"vgg.h5: HDF5 structure, byte \d+: there are {size}")

    def test_a_layer_is_missing(self):
        self.write_weights("layer")
        self.refused("vgg.h5: layer block1_conv2: there is no such layer; layers with weights: block1_conv1")

    def test_an_array_too_many(self):
        self.write_weights("extra")
        self.refused(r"vgg.h5: layer block1_conv2: its array block1_conv2/gamma:0 \[64\] is not needed; needed: kernel "
                     r"\[3, 3, 64, 64\], bias \[64\]")

    def test_transposed(self):
        self.write_weights("transposed")
        self.refused(r"vgg.h5: layer block1_conv2: array block1_conv2/kernel:0: its extents are \[64, 3, 3, 64\], but "
                     r"\[3, 3, 64, 64\] are needed: they are in the order \[out, kh, kw, in\] instead of "
                     r"\[kh, kw, in, out\]")

    def test_other_extents(self):
        self.write_weights("extents")
        self.refused(r"vgg.h5: layer block1_conv2: array block1_conv2/kernel:0: its extents are \[3, 3, 32, 64\], but "
                     r"\[3, 3, 64, 64\] are needed")

    def test_not_a_number(self):
        self.write_weights("nan")
        self.refused(r"vgg.h5: layer block1_conv2: array block1_conv2/kernel:0: its element \[1, 2, 3, 4\] is nan as "
                     "f32; weights must be finite")

    def test_no_such_map(self):
        self.write("job.yaml", self.JOB.replace("block1_conv2", "block1_conv3"))
        self.refused(r"job.yaml:5:\d+: content.maps: vgg19 has no layer 'block1_conv3' \(there are block1_conv1, "
                     "block1_conv2, block1_pool, ", code=USAGE)

    def test_other_weights_on_one_rank(self):
        self.write_weights("whole")
        (self.folder / "elsewhere").mkdir()
        content = bytearray((self.folder / "vgg.h5").read_bytes())
        content[-3] ^= 1  # of a bias or a kernel, which stays finite
        (self.folder / "elsewhere/vgg.h5").write_bytes(content)
        script = ('test "$OMPI_COMM_WORLD_RANK" = 1 && cd elsewhere; exec "$0" "$PWD_OF_JOB/job.yaml" --overwrite '
                  '--set "output=$PWD_OF_JOB/out"')
        result = self.gentrain(command=["sh", "-c", script, PROGRAM], ranks=3, env={"PWD_OF_JOB": str(self.folder)})
        self.assert_refused(result, RANK_TROUBLE, "rank 1 .* runs with another content.weights than rank 0")


if __name__ == "__main__":
    unittest.main(verbosity=2)
