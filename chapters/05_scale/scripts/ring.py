"""A ring all-reduce by hand: plain sockets, NumPy, and one process for each place in the ring.

python ring.py RANK HOST:PORT HOST:PORT …  (the addresses of all, in the order of the ring)
"""

import json
import socket
import sys
import threading
import time

import numpy as np

PATIENCE = 20  # seconds that anybody waits for a neighbour


def join(rank, addresses):
    """A connection to the right neighbour, and one from the left one."""
    host, port = addresses[rank].split(":")
    server = socket.create_server((host, int(port)))
    server.settimeout(PATIENCE)
    host, port = addresses[(rank + 1) % len(addresses)].split(":")
    end = time.monotonic() + PATIENCE
    while True:
        try:
            right = socket.create_connection((host, int(port)), timeout=PATIENCE)
            break
        except ConnectionRefusedError:  # the neighbour is not there yet
            if time.monotonic() > end:
                raise TimeoutError(f"rank {rank}: nobody at {host}:{port}") from None
            time.sleep(0.02)
    left, _ = server.accept()
    server.close()
    for neighbour in (left, right):
        neighbour.settimeout(PATIENCE)
        neighbour.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return left, right


def exchange(left, right, outgoing, incoming):
    """Send to the right and receive from the left at the same time, or all would wait for all."""
    sender = threading.Thread(target=right.sendall, args=(memoryview(outgoing).cast("B"),))
    sender.start()
    view = memoryview(incoming).cast("B")
    while view:
        count = left.recv_into(view)
        if not count:
            raise ConnectionError("the left neighbour is gone")
        view = view[count:]
    sender.join()


def all_reduce(values, rank, world, left, right):
    """Replace `values` (n,), float32, by the sum over all processes, in place."""
    chunks = np.array_split(values, world)  # views, not copies
    room = np.empty_like(chunks[0])  # the first chunk is the longest
    for turn in range(world - 1):  # reduce-scatter: each turn a chunk moves on, and grows
        out, into = chunks[(rank - turn) % world], chunks[(rank - turn - 1) % world]
        exchange(left, right, out, room[: len(into)])
        into += room[: len(into)]
    for turn in range(world - 1):  # all-gather: now rank + 1 is complete; pass complete ones on
        out, into = chunks[(rank + 1 - turn) % world], chunks[(rank - turn) % world]
        exchange(left, right, out, into)


if __name__ == "__main__":
    rank, addresses = int(sys.argv[1]), sys.argv[2:]
    world = len(addresses)
    left, right = join(rank, addresses)
    found = {"rank": rank, "right": addresses[(rank + 1) % world], "seconds": {}}
    for size in (1, 1000, 10_000, 100_000, 1_000_000, 4_000_000):
        values = np.random.default_rng([rank, size]).normal(size=size).astype("float32")
        everyone = [np.random.default_rng([r, size]).normal(size=size) for r in range(world)]
        expected = np.sum(everyone, axis=0)
        all_reduce(values, rank, world, left, right)
        found["error"] = max(found.get("error", 0), float(abs(values - expected).max()))
        values, times = np.zeros(size, "float32"), []
        for _ in range(9):
            started = time.perf_counter()
            all_reduce(values, rank, world, left, right)
            times.append(time.perf_counter() - started)
        found["seconds"][4 * size] = sorted(times)[len(times) // 2]
    print(json.dumps(found), flush=True)
