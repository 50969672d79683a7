"""A load generator: so many clients, each of which asks again as soon as it is answered.

One thread with non-blocking sockets, so that it takes little of the machine that it measures.
(A closed loop understates waiting: slow answers slow the questions down as well.)
"""

import dataclasses
import json
import re
import selectors
import socket
import time
from collections import Counter

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclasses.dataclass
class Pressed:
    """What came of it: seconds of each answer, status codes, and connections that were cut."""

    clients: int
    seconds: float = 0.0
    times: list[float] = dataclasses.field(default_factory=list)
    codes: Counter = dataclasses.field(default_factory=Counter)
    cut: int = 0  # a request was sent whole, and no answer came
    refused: int = 0  # nobody listened

    @property
    def rate(self) -> float:
        """Answers with 200 a second."""
        return self.codes[200] / self.seconds if self.seconds else 0.0

    def percentile(self, percent: float) -> float:
        """Milliseconds within which so many percent were answered."""
        ordered = sorted(self.times) or [float("nan")]
        return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]

    def row(self) -> str:
        """In one line."""
        codes = ", ".join(f"{n} × {code}" for code, n in sorted(self.codes.items()) if code != 200)
        parts = " ".join(f"p{p} {self.percentile(p):7.1f}" for p in (50, 95, 99))
        cut = f", {self.cut} without an answer" if self.cut else ""
        return (
            f"{self.clients:3d} clients: {self.rate:7.1f} /s, ms {parts}"
            + cut
            + (codes and f", {codes}")
        )


def request(path: str, data: bytes | dict, kind: str = "application/json", **headers: str) -> bytes:
    """A POST request as it goes over the wire."""
    data = json.dumps(data).encode() if isinstance(data, dict) else data
    head = {"Host": "localhost", "Content-Type": kind, "Content-Length": len(data), **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + data


class _Client:
    """One connection: what it still has to send, what it has got, and since when it waits."""

    def __init__(self, port: int, message: bytes) -> None:
        self.message, self.port, self.socket = message, port, None

    def begin(self, selector: selectors.BaseSelector) -> None:
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=60)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.setblocking(False)
            selector.register(self.socket, selectors.EVENT_READ, self)
        self.got, self.left, self.since = b"", memoryview(self.message), time.perf_counter()
        self.push(selector)

    def push(self, selector: selectors.BaseSelector) -> None:
        try:
            while self.left:
                self.left = self.left[self.socket.send(self.left) :]
        except BlockingIOError:
            pass
        more = selectors.EVENT_WRITE if self.left else 0
        selector.modify(self.socket, selectors.EVENT_READ | more, self)

    def end(self, selector: selectors.BaseSelector) -> None:
        if self.socket is not None:
            selector.unregister(self.socket)
            self.socket.close()
            self.socket = None

    def take(self) -> int | None:
        """Read; the status once the answer is whole. ConnectionError where it was cut."""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionResetError
        self.got += data
        head, found, body = self.got.partition(b"\r\n\r\n")
        if not found or len(body) < int(_LENGTH.search(head).group(1)):
            return None
        return int(head[9:12])


def press(
    port: int,
    message: bytes,
    clients: int,
    seconds: float,
    most: int | None = None,
    keep_alive: bool = True,
) -> Pressed:
    """Let `clients` send one request after the other to this machine for so long.

    Parameters
    ----------
    port
        Of the server.
    message
        From `request`.
    clients, seconds
        How many, and how long.
    most
        End after so many answers, if that is sooner.
    keep_alive
        Whether a client keeps its connection for the next request.
    """
    found, started = Pressed(clients), time.perf_counter()
    with selectors.DefaultSelector() as selector:
        busy = [_Client(port, message) for _ in range(clients)]
        for client in list(busy):
            _again(client, selector, found, busy)
        while busy:
            ready = selector.select(timeout=60)
            if not ready:  # a minute of silence
                found.cut += len(busy)
                break
            for key, events in ready:
                client = key.data
                try:
                    if events & selectors.EVENT_WRITE:
                        client.push(selector)
                    status = client.take() if events & selectors.EVENT_READ else None
                except OSError:
                    found.cut += 1
                    client.end(selector)
                    busy.remove(client)
                    continue
                if status is None:
                    continue
                now = time.perf_counter()
                found.times.append(now - client.since)
                found.codes[status] += 1
                if b"connection: close" in client.got[:600].lower() or not keep_alive:
                    client.end(selector)
                if now - started < seconds and len(found.times) < (most or float("inf")):
                    _again(client, selector, found, busy)
                else:
                    client.end(selector)
                    busy.remove(client)
        for client in busy:
            client.end(selector)
    found.seconds = time.perf_counter() - started
    return found


def _again(client: _Client, selector, found: Pressed, busy: list[_Client]) -> None:
    try:
        client.begin(selector)
    except OSError:
        found.refused += 1
        client.end(selector)
        busy.remove(client)
