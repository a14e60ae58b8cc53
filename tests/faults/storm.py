"""Bad weather between a program and its storage: an HTTP proxy that injects faults by plan.

with Storm(server, seed=0) as storm:
    storm.weather = {"error": 0.1, "reset": 0.1}
    ...  # requests to storm.url
    assert storm.faults["reset"] > 0
"""

import http.client
import os
import random
import socket
import struct
import threading
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

FAULTS = (
    "error",  # 500 InternalError
    "throttle",  # 503 SlowDown
    "denied",  # 403 AccessDenied
    "reset",  # the connection is reset before an answer
    "half",  # half of the body, then the connection ends
    "short",  # a well-formed answer of half the bytes
    "slow",  # the whole answer, after `slow_s`
)
_CODES = {
    "error": (500, "InternalError"),
    "throttle": (503, "SlowDown"),
    "denied": (403, "AccessDenied"),
}
_METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE")
_OF_ONE_HOP = ("connection", "transfer-encoding", "content-length", "server", "date")


class Storm:
    """A proxy on loopback in front of `upstream`. Which fault comes when follows from the seed."""

    def __init__(self, upstream: str, seed: int, slow_s: float = 1.0) -> None:
        self.next: list[str | None] = []  # what the next requests meet; after those, the weather
        self.weather: dict[str, float] = {}  # share of requests that meet each fault
        self.faults: Counter[str] = Counter()  # those that were injected
        self.requests: Counter[str] = Counter()  # those that came, by method
        self.slow_s = slow_s
        self.upstream = urlsplit(upstream).netloc
        self.is_over = threading.Event()
        self._draws = random.Random(seed)
        self._lock = threading.Lock()
        answers = {f"do_{method}": _Handler.handle_any for method in _METHODS}
        handler = type("Handler", (_Handler,), {"storm": self, **answers})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.is_over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def next_fault(self, method: str) -> str | None:
        """What the request that just came meets."""
        with self._lock:
            self.requests[method] += 1
            fault = self.next.pop(0) if self.next else self._draw()
            if fault is not None:
                assert fault in FAULTS
                self.faults[fault] += 1
            return fault

    def _draw(self) -> str | None:
        draw = self._draws.random()
        for fault, share in self.weather.items():
            if draw < share:
                return fault
            draw -= share
        return None


class _Handler(BaseHTTPRequestHandler):
    """Passes requests on, or not."""

    storm: Storm
    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Answer requests until whoever asks has gone."""
        with suppress(ConnectionError):
            super().handle()

    def handle_any(self) -> None:
        """Answer a request of any method."""
        body = self._body()
        fault = self.storm.next_fault(self.command)
        if fault in _CODES:
            self._refuse(*_CODES[fault])
            return
        if fault == "reset":
            self._reset()
            return
        if fault == "slow":
            self.storm.is_over.wait(self.storm.slow_s)
        connection = http.client.HTTPConnection(self.storm.upstream, timeout=60)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        headers = answer.getheaders()
        length = len(content)
        if self.command == "HEAD":
            length = int(answer.getheader("content-length") or 0)
        if fault in ("half", "short"):
            content = content[: len(content) // 2]
            self.close_connection = True
        self.send_response(answer.status)
        for name, text in headers:
            if name.lower() not in _OF_ONE_HOP:
                self.send_header(name, text)
        self.send_header("Content-Length", str(len(content) if fault == "short" else length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        del self.headers["Transfer-Encoding"]
        pieces = []
        while length := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(length))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        del self.headers["Content-Length"]
        return b"".join(pieces)

    def _refuse(self, status: int, code: str) -> None:
        said = f"<Error><Code>{code}</Code><Message>Reduce your request rate.</Message></Error>"
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(said.encode())

    def _reset(self) -> None:
        """Close so that the other side is told of a reset, not of an orderly end."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
