"""An HTTP server on the loopback interface that serves files and misbehaves as it is told: the first part of a path
says how, the rest names the file."""

import http.server
import threading
import time

STALL = 30.0  # seconds: longer than any client here waits


class Handler(http.server.BaseHTTPRequestHandler):
    """/HOW/NAME: the file NAME of server.files, in one of the ways below; asked as a proxy, in the way of
    server.as_proxy, and no proxy for https."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        _, how, name = (self.path + "//").split("/", 2)
        if self.path.startswith("http:"):  # asked as a proxy
            how, name = self.server.as_proxy, self.path
        name = name.strip("/")
        self.server.requests.append((how, self.headers.get("Range"), self.headers.get("If-Range")))
        content = self.server.files.get(name.rpartition("/")[2], b"")
        getattr(self, how, self.missing)(content, name)

    def answer(self, status, content=b"", **fields):
        self.send_response(status)
        for field, value in {"Content-Length": len(content), **fields}.items():
            if value is not None:
                self.send_header(field.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(content)

    def missing(self, content, name):
        self.answer(404)

    def good(self, content, name, **fields):
        """Whole or in part, as a server should."""
        asked = self.headers.get("Range")
        same = self.headers.get("If-Range") in (None, fields.get("ETag"))
        if asked is None or not same:
            return self.answer(200, content, **fields)
        first = int(asked.removeprefix("bytes=").rstrip("-"))
        if first >= len(content):
            return self.answer(416, **fields)
        return self.answer(206, content[first:], **fields,
                           Content_Range=f"bytes {first}-{len(content) - 1}/{len(content)}")

    def tagged(self, content, name):
        self.good(content, name, ETag=f'"{self.server.tag}"')

    def whole(self, content, name):
        """Ranges are not known."""
        self.answer(200, content)

    def cut(self, content, name):
        """Half of it, then the connection ends."""
        self.part(content)
        self.close_connection = True

    def cut_tagged(self, content, name):
        self.part(content, ETag=f'"{self.server.tag}"')
        self.close_connection = True

    def stall(self, content, name):
        self.part(content)
        self.wfile.flush()
        self.server.over.wait(STALL)
        self.close_connection = True

    def part(self, content, **fields):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        for field, value in fields.items():
            self.send_header(field, value)
        self.end_headers()
        self.wfile.write(content[:len(content) // 2])

    def drip(self, content, name):
        """A few bytes at a time, for ever."""
        self.send_response(200)
        self.end_headers()
        end = time.monotonic() + STALL
        while time.monotonic() < end and not self.server.over.wait(0.2):
            try:
                self.wfile.write(b"x" * 1000)
            except OSError:
                break
        self.close_connection = True

    def endless(self, content, name):
        """More than it should be, without saying how much."""
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            self.wfile.write(content + b"more")
        except OSError:
            pass
        self.close_connection = True

    def wrong(self, content, name):
        """As many bytes, others."""
        self.answer(200, bytes(255 - byte for byte in content))

    def other_range(self, content, name):
        """Another part than was asked for."""
        if self.headers.get("Range") is None:
            return self.answer(200, content)
        return self.answer(206, content[1:],
                           Content_Range=f"bytes 1-{len(content) - 1}/{len(content)}")

    def error(self, content, name):
        self.answer(500)

    def flaky(self, content, name):
        """An error at first, then all is well."""
        first = [how for how, *_ in self.server.requests].count("flaky") == 1
        self.answer(503) if first else self.good(content, name)

    def moved(self, content, name):
        self.answer(302, Location=f"/good/{name}")

    def loop(self, content, name):
        self.answer(302, Location=self.path)

    def to_file(self, content, name):
        self.answer(302, Location="file:///etc/passwd")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Clients that hang up are what is being tested."""


class BadServer:
    """The server in a thread; `files` are its contents by name, `requests` what was asked so far."""

    def __init__(self, files):
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.files = files
        self.server.requests = []
        self.server.tag = "one"
        self.server.as_proxy = "missing"
        self.server.over = threading.Event()
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    @property
    def requests(self):
        return self.server.requests

    def url(self, how):
        return f"http://127.0.0.1:{self.server.server_address[1]}/{how}"

    def close(self):
        self.server.over.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
