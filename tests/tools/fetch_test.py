#!/usr/bin/env python3
"""gentrain fetch against a server on the loopback interface that misbehaves: what it prints, keeps, asks for and
refuses. Nothing here reaches another host.

Environment: GENTRAIN is the program, MPIRUN Open MPI's launcher, GENTRAIN_DATA a folder with mnist/ in it (else those
tests are skipped)."""

import hashlib
import json
import os
import socket
import threading
import unittest
from pathlib import Path

from bad_server import BadServer
from program_case import BAD_FILE, USAGE, ProgramTest

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2
MNIST = Path(os.environ.get("GENTRAIN_DATA", "")) / "mnist"


class FetchTest(ProgramTest):
    """A server, and a folder to fetch into."""

    def setUp(self):
        super().setUp()
        self.server = BadServer({"a.bin": CONTENT})
        self.addCleanup(self.server.close)
        self.to = self.folder / "to"

    def fetch(self, *arguments, env=None, **keywords):
        clean = {"no_proxy": "127.0.0.1", "GENTRAIN_MIRROR": "", **(env or {})}
        return self.gentrain("fetch", *arguments, "--to", self.to, "--stall", 1, env=clean, **keywords)

    def fetch_file(self, how, *arguments, tries=1):
        return self.fetch(f"{self.server.url(how)}/a.bin", "--tries", tries, *arguments)

    def files(self):
        return sorted(path.name for path in self.to.rglob("*")) if self.to.exists() else []

    def assert_fetched(self, result):
        self.assertEqual(result.code, 0, result)
        self.assertIn(f"a.bin: fetched, {len(CONTENT)} bytes, SHA-256 {SHA256}", result.output)
        self.assertEqual((self.to / "a.bin").read_bytes(), CONTENT)
        self.assertEqual(self.files(), ["a.bin"])

    def assert_nothing(self, result, message):
        self.assert_refused(result, BAD_FILE, message)
        self.assertEqual(self.files(), [])

    def keep_half(self, how="cut", continues=None):
        """A transfer that broke off, as if the server had done it at the place `continues`."""
        kept = rf"after {HALF} of {len(CONTENT)} bytes.*a.bin.part keeps what came, and the same command goes on"
        self.assert_refused(self.fetch_file(how), BAD_FILE, kept)
        self.assertEqual(self.files(), ["a.bin.part", "a.bin.part.json"])
        note = self.to / "a.bin.part.json"
        origin = json.loads(note.read_text(encoding="utf-8"))
        self.assertEqual(origin["bytes"], len(CONTENT))
        if continues:
            origin["url"] = f"{self.server.url(continues)}/a.bin"
            note.write_text(json.dumps(origin), encoding="utf-8")
        self.server.requests.clear()


class Table(FetchTest):
    """Names, mirrors and options."""

    def test_names_are_checked_before_anything_is_fetched(self):
        result = self.fetch(f"{self.server.url('good')}/a.bin", "mnits")
        self.assert_refused(result, USAGE, r"fetch: there is no 'mnits' \(did you mean 'mnist'\?\)")
        self.assertEqual(self.server.requests, [])

    def test_a_mirror_of_a_name_is_a_folder_of_its_files(self):
        result = self.fetch("vgg19", "--mirror", f"vgg19={self.server.url('missing')}/x/", "--tries", 1)
        self.assert_nothing_but_folders(result, r"/missing/x/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5: the "
                                                r"server answers with HTTP status 404, 200 was needed")

    def test_a_mirror_of_all_is_laid_out_as_the_data(self):
        result = self.fetch("mnist", "--tries", 1, env={"GENTRAIN_MIRROR": self.server.url("missing")})
        self.assert_nothing_but_folders(result, "/missing/mnist/train-images-idx3-ubyte.gz: the server answers")

    def assert_nothing_but_folders(self, result, message):
        self.assert_refused(result, BAD_FILE, message)
        self.assertEqual([path for path in self.to.rglob("*") if path.is_file()], [])

    def test_a_file_of_another_content_is_not_touched(self):
        (self.to / "mnist").mkdir(parents=True)
        (self.to / "mnist" / "train-images-idx3-ubyte.gz").write_text("mine", encoding="utf-8")
        self.assert_refused(self.fetch("mnist"), BAD_FILE,
                            "train-images-idx3-ubyte.gz: it has 4 bytes, 9912422 are needed; remove it to have it")
        self.assertEqual((self.to / "mnist" / "train-images-idx3-ubyte.gz").read_text(encoding="utf-8"), "mine")

    def test_a_wrong_size_is_refused_before_it_is_fetched(self):
        self.server.server.files["imagenet_class_index.json"] = CONTENT
        result = self.fetch("imagenet_classes", "--mirror", f"imagenet_classes={self.server.url('good')}")
        self.assert_nothing_but_folders(result, f"the server announces {len(CONTENT)} bytes, 35363 are needed")

    def test_a_wrong_hash_leaves_nothing(self):
        self.server.server.files["imagenet_class_index.json"] = bytes(35363)
        result = self.fetch("imagenet_classes", "--mirror", f"imagenet_classes={self.server.url('good')}")
        self.assert_nothing_but_folders(result, "its SHA-256 is [0-9a-f]{64}, a1e7a966a1f6.* was needed; what came "
                                                "was removed")

    @unittest.skipUnless(MNIST.is_dir(), "GENTRAIN_DATA names no folder with mnist/")
    def test_mnist_is_fetched_once(self):
        names = [f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
        self.server.server.files.update({name: (MNIST / name).read_bytes() for name in names})
        environment = {"GENTRAIN_MIRROR": self.server.url("good")}
        first = self.fetch("mnist", env=environment)
        self.assertEqual(first.code, 0, first)
        self.assertEqual(first.output.count(": fetched, "), 4)
        self.assertEqual(self.files(), ["mnist", *sorted(names)])
        self.server.requests.clear()
        again = self.fetch("mnist", env=environment)
        self.assertEqual(again.output.count(": is there, "), 4)
        self.assertEqual(self.server.requests, [])

    def test_the_list_shows_no_password(self):
        result = self.fetch("--list", env={"GENTRAIN_MIRROR": "http://me:secret@host/base"})
        self.assertEqual(result.code, 0, result)
        self.assertIn("    http://host/base/mnist/train-images-idx3-ubyte.gz\n", result.output)
        self.assertNotIn("secret", result.output)

    def fetch_flowers(self):
        """From the table's places, an http and an https one, by the server as their proxy: the latter fails."""
        proxy = self.server.url("").rstrip("/")
        return self.fetch("flowers", "--tries", 1, env={"http_proxy": proxy, "https_proxy": proxy})

    def test_the_next_place_is_tried(self):
        result = self.fetch_flowers()
        self.assert_nothing_but_folders(result, r"(?s)/flower_photos.tgz: the server answers with HTTP status 404, 200 "
                                                r"was needed; https://storage.* is tried\n.*https://storage")
        self.assertEqual(len(self.server.requests), 1)

    def test_the_next_place_leaves_what_came_until_it_answers(self):
        self.server.server.as_proxy = "cut"
        self.server.server.files["flower_photos.tgz"] = CONTENT
        result = self.fetch_flowers()
        self.assert_refused(result, BAD_FILE, r"the same command goes on; https://storage.* is tried\n")
        self.assertEqual((self.to / "flower_photos.tgz.part").read_bytes(), CONTENT[:HALF])
        self.assertEqual(result.output.count("keeps what came"), 1, result)
        self.server.requests.clear()
        self.server.server.as_proxy = "good"
        self.assert_nothing_but_folders(self.fetch_flowers(), "its MD5 is .* was needed; what came was removed; https:")
        self.assertEqual([asked for _, asked, _ in self.server.requests], [f"bytes={HALF}-"])

    def test_an_error_of_this_machine_is_the_end(self):
        (self.to / "flower_photos.tgz.part").mkdir(parents=True)
        result = self.fetch_flowers()
        self.assert_refused(result, BAD_FILE, "flower_photos.tgz.part: open failed: ")
        self.assertNotIn("is tried", result.output)
        self.assertEqual(self.server.requests, [])


class Ranks(FetchTest):
    """Under mpirun."""

    def test_one_rank_fetches(self):
        result = self.fetch(f"{self.server.url('good')}/a.bin", ranks=3)
        self.assert_fetched(result)
        self.assertEqual(len(self.server.requests), 1)
        self.assertEqual(result.output.count("fetched"), 1)


class Transfers(FetchTest):
    """What comes in the end, and what is asked for on the way."""

    def test_whole_with_and_without_its_hash(self):
        self.assert_fetched(self.fetch_file("good"))
        (self.to / "a.bin").unlink()
        self.assert_fetched(self.fetch_file("good", "--sha256", SHA256))

    def test_what_is_there_is_left(self):
        self.assert_fetched(self.fetch_file("good"))
        self.server.requests.clear()
        again = self.fetch_file("good", "--sha256", SHA256)
        self.assertIn(f"a.bin: is there, {len(CONTENT)} bytes, SHA-256 {SHA256}", again.output)
        self.assertEqual(self.server.requests, [])

    def test_a_redirect_is_followed(self):
        self.assert_fetched(self.fetch_file("moved"))

    def test_an_error_that_passes_is_tried_again(self):
        self.assert_fetched(self.fetch_file("flaky", tries=2))

    def test_goes_on_by_size(self):
        self.keep_half(continues="good")
        self.assert_fetched(self.fetch_file("good"))
        self.assertEqual(self.server.requests, [("good", f"bytes={HALF}-", None)])

    def test_goes_on_by_tag(self):
        self.keep_half("cut_tagged", continues="tagged")
        self.assert_fetched(self.fetch_file("tagged"))
        self.assertEqual(self.server.requests, [("tagged", f"bytes={HALF}-", '"one"')])

    def test_another_tag_begins_anew(self):
        self.keep_half("cut_tagged", continues="tagged")
        self.server.server.tag = "two"
        other = CONTENT[::-1]
        self.server.server.files["a.bin"] = other
        self.assertEqual(self.fetch_file("tagged").code, 0)
        self.assertEqual((self.to / "a.bin").read_bytes(), other)

    def test_another_size_begins_anew(self):
        self.keep_half(continues="good")
        self.server.server.files["a.bin"] = CONTENT[::-1] + b"more"
        self.assertEqual(self.fetch_file("good").code, 0)
        self.assertEqual((self.to / "a.bin").read_bytes(), CONTENT[::-1] + b"more")
        self.assertEqual([asked for _, asked, _ in self.server.requests], [f"bytes={HALF}-", None])

    def test_a_smaller_content_begins_anew(self):
        self.keep_half(continues="good")
        self.server.server.files["a.bin"] = b"small"
        self.assertEqual(self.fetch_file("good").code, 0)
        self.assertEqual((self.to / "a.bin").read_bytes(), b"small")

    def test_a_server_without_ranges_begins_anew(self):
        self.keep_half(continues="whole")
        self.assert_fetched(self.fetch_file("whole"))
        self.assertEqual(self.server.requests, [("whole", f"bytes={HALF}-", None)])

    def test_another_part_than_was_asked_for_begins_anew(self):
        self.keep_half(continues="other_range")
        self.assert_fetched(self.fetch_file("other_range"))
        self.assertEqual([asked for _, asked, _ in self.server.requests], [f"bytes={HALF}-", None])

    def test_another_url_or_a_damaged_note_begins_anew(self):
        self.keep_half()
        self.assert_fetched(self.fetch_file("good"))
        (self.to / "a.bin").unlink()
        self.keep_half()
        (self.to / "a.bin.part.json").write_text("{", encoding="utf-8")
        self.assert_fetched(self.fetch_file("good"))
        self.assertEqual(self.server.requests, [("good", None, None)])

    def test_a_beginning_of_something_else_is_found_by_the_hash(self):
        self.keep_half(continues="good")
        (self.to / "a.bin.part").write_bytes(bytes(HALF))
        self.assert_nothing(self.fetch_file("good", "--sha256", SHA256), f"{SHA256} was needed; what came was removed")
        self.assert_fetched(self.fetch_file("good", "--sha256", SHA256))


class Endings(FetchTest):
    """What a server may do wrong, each with its message."""

    def test_statuses(self):
        self.assert_nothing(self.fetch_file("missing"), "/missing/a.bin: the server answers with HTTP status 404, "
                                                        "200 was needed\n")
        self.assertEqual(len(self.server.requests), 1)
        self.assert_nothing(self.fetch_file("missing", tries=3), "HTTP status 404")
        self.assertEqual(len(self.server.requests), 2, "what does not pass is not tried again")
        self.assert_nothing(self.fetch_file("error", tries=2), "/error/a.bin: the server answers with HTTP status 500, "
                                                               "200 was needed, at the last of 2 tries")

    def test_redirects(self):
        self.assert_nothing(self.fetch_file("loop"), "/loop/a.bin: the server redirects more than 5 times")
        self.assert_nothing(self.fetch_file("to_file"), "/to_file/a.bin: the server redirects to 'file:///etc/passwd': "
                                                        "only http and https are followed")

    def test_a_connection_that_breaks_off(self):
        self.keep_half()

    def test_a_server_that_stalls(self):
        self.keep_half("stall")

    def test_a_stall_is_named(self):
        self.assert_refused(self.fetch_file("stall"), BAD_FILE, "less than 100 bytes a second came for 1 s, after")

    def test_a_time_that_is_over(self):
        self.assert_refused(self.fetch_file("drip", "--time", 1), BAD_FILE, r"it took longer than 1 s, after \d+ bytes")

    def test_too_many_bytes(self):
        self.server.server.files["imagenet_class_index.json"] = bytes(35363)
        result = self.fetch("imagenet_classes", "--mirror", f"imagenet_classes={self.server.url('endless')}")
        self.assert_refused(result, BAD_FILE, "more than the 35363 bytes came that are needed")
        self.assertEqual([path for path in self.to.rglob("*") if path.is_file()], [])

    def test_a_wrong_hash(self):
        self.assert_nothing(self.fetch_file("wrong", "--sha256", SHA256),
                            f"its SHA-256 is [0-9a-f]+, {SHA256} was needed; what came was removed")

    def test_nobody_listens(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://user:secret@127.0.0.1:{free.getsockname()[1]}/a.bin"
            result = self.fetch(url, "--tries", 1)
        self.assert_nothing(result, r"http://127.0.0.1:\d+/a.bin: the host cannot be reached \(")
        self.assertNotIn("secret", result.output)

    def test_a_proxy_of_the_environment_is_asked(self):
        proxy = self.server.url("").rstrip("/")
        result = self.gentrain("fetch", "http://nowhere.invalid/a.bin", "--to", self.to, "--tries", 1,
                               env={"http_proxy": proxy, "no_proxy": ""})
        self.assert_nothing(result, "http://nowhere.invalid/a.bin: the server answers with HTTP status 404")

    def test_a_folder_that_cannot_be_made(self):
        self.to.write_text("a file", encoding="utf-8")
        self.assert_refused(self.fetch_file("good"), BAD_FILE, "to: it cannot be made: ")

    def test_one_process_at_a_time(self):
        first = threading.Thread(target=self.fetch, args=(f"{self.server.url('drip')}/a.bin", "--time", 4))
        first.start()
        self.addCleanup(first.join)
        while not self.server.requests:
            first.join(0.05)
        self.assert_refused(self.fetch_file("good"), BAD_FILE, "a.bin.part: another process is fetching it")


class Archives(FetchTest):
    """Data sets that come as an archive."""

    def test_a_folder_that_is_there_is_left(self):
        (self.to / "lfw" / "Somebody").mkdir(parents=True)
        result = self.fetch("lfw", env={"GENTRAIN_MIRROR": self.server.url("good")})
        self.assertEqual(result.code, 0, result)
        self.assertRegex(result.output, r"to/lfw: is there\n")
        self.assertEqual(self.server.requests, [])

    def test_an_empty_folder_counts_as_none(self):
        (self.to / "lfw").mkdir(parents=True)
        self.server.server.files["lfw-deepfunneled.tgz"] = CONTENT
        result = self.fetch("lfw", env={"GENTRAIN_MIRROR": self.server.url("good")})
        self.assert_refused(result, BAD_FILE, "/good/lfw-deepfunneled.tgz: .*its MD5 is [0-9a-f]{32}, 68331da3eb755a50.*"
                                              " was needed; what came was removed")
        self.assertEqual(self.files(), ["lfw"], "it is removed only for what takes its place")


if __name__ == "__main__":
    unittest.main()
