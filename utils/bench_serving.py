"""``make bench-serving``: the model server under load, beside what it is to be compared with.

In one run, with the same model, the same requests and the same load generator: (a) twenty lines of
Flask on Flask's own development server, as the notebook begins; (b) the bare call of the model in
as many threads, without any HTTP, as the ceiling; (c) LitServe serving the same ONNX file, where an
interpreter that has it is named; and the course's server, without and with micro-batches.

The generator shares the machine with what it measures. Nothing here passes or fails.
"""

import argparse
import io
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from utils import checkpoints, runtime
from utils.cluster import ROOT, Cluster
from utils.serving import engines
from utils.serving.load import Pressed, press, request
from utils.serving.registry import PLAN

CLIENTS = (1, 8, 64)
MANY = 16  # digits in a request, where the model is to have something to do
MODEL = engines.MODELS["digits"]
SCRIPTS = ROOT / "chapters" / "06_serving" / "scripts"


def digit() -> np.ndarray:
    """What every request holds."""
    from utils import data

    return data.mnist("embedded").x_test[0]


def npy(array: np.ndarray) -> bytes:
    """An array as bytes."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def servers(engine: str, litserve: str | None) -> Iterator[tuple[str, list[str], bytes]]:
    """What is measured: its title, its command, and the request it takes."""
    naive = request("/predict", {"image": digit().tolist()})
    ours, kind = request("/predict", npy(digit()), "application/x-npy"), ["--engine", engine]
    serve = [sys.executable, "-m", "utils.serving", "--port", "0", "--quiet", "--models", "digits"]
    serve += [*kind, "--queue", "256"]
    yield "twenty lines", [sys.executable, str(SCRIPTS / "twenty_lines.py"), engine], naive
    yield "server, JSON", serve, request("/predict", {"images": [digit().tolist()]})
    yield "server", serve, ours
    batch = ["--batch", "32", "--threads", "64"]
    yield "server, batches", [*serve, *batch], ours
    if engine != "onnxruntime":
        return
    many = request("/predict", npy(np.repeat(digit()[None], MANY, axis=0)), "application/x-npy")
    yield f"server, {MANY} digits", serve, many
    if litserve:
        file = engines.onnx_file(MODEL, checkpoints.load(PLAN["digits"][-1]))
        yield "LitServe", [litserve, str(SCRIPTS / "litserve_app.py"), str(file), "1"], naive
        yield (
            "LitServe, batches",
            [litserve, str(SCRIPTS / "litserve_app.py"), str(file), "32"],
            naive,
        )


def bare(engine: str, clients: int, seconds: float, items: int = 1) -> Pressed:
    """The model called by so many threads, and nothing else."""
    call = engines.make(engine, MODEL, checkpoints.load(PLAN["digits"][-1]))
    x = np.repeat(digit()[None], items, axis=0).astype("float32")
    for _ in range(3):
        call(x)
    times: list[float] = []
    end = time.perf_counter() + seconds

    def work() -> None:
        while (started := time.perf_counter()) < end:
            call(x)
            times.append(time.perf_counter() - started)

    began = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Pressed(clients, time.perf_counter() - began, times)


Rounds = dict[str, list[list[Pressed]]]


def measure(
    engine: str,
    seconds: float,
    litserve: str | None = None,
    rounds: int = 1,
    clients: tuple[int, ...] = CLIENTS,
    told: Callable[[str], None] = print,
) -> Rounds:
    """Everything with one engine: title to rounds, each with a `Pressed` for each of `clients`."""
    found: Rounds = {}
    for title, command, message in servers(engine, litserve):
        with Cluster(title) as cluster:
            process = cluster.start("server", command)
            port: list[int] = []

            def up(process: Any = process, port: list[int] = port) -> bool:
                known = re.search(r"(?:Serving|Running) on http://[^:]+:(\d+)", process.text)
                port[:] = [int(known.group(1))] if known else []
                return bool(port) and _answers(port[0])

            cluster.until(up, 180)
            press(port[0], message, 4, 60, most=20)  # warm
            found[title] = [[press(port[0], message, n, seconds) for n in clients]]
            for _ in range(rounds - 1):
                found[title].append([press(port[0], message, n, seconds) for n in clients])
        _tell(told, engine, title, found[title])
    for items in (1, MANY) if engine == "onnxruntime" else (1,):
        title = "bare calls" + (f", {items} digits" if items > 1 else "")
        command = [sys.executable, "-m", "utils.bench_serving", "--bare", str(items)]
        command += ["--engine", engine, "--seconds", str(seconds), "--rounds", str(rounds)]
        with Cluster(title) as cluster:  # a process of its own, as the servers have
            process = cluster.start("calls", [*command, "--clients", *map(str, clients)])
            cluster.wait(300)
            rows = json.loads(process.text.splitlines()[-1])
        found[title] = [[Pressed(*row) for row in one] for one in rows]
        for row in (row for one in found[title] for row in one):
            row.codes[200] = len(row.times)
        _tell(told, engine, title, found[title])
    return found


def _tell(told: Callable[[str], None], engine: str, title: str, rounds: list) -> None:
    told("\n".join(f"  {engine:<12}{title:<19}{row.row()}" for one in rounds for row in one))


def _answers(port: int) -> bool:
    import socket

    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.bench_serving", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--engine", nargs="*", default=["onnxruntime", "keras"])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each number of clients")
    parser.add_argument(
        "--litserve", help="a Python with litserve and onnxruntime, to compare with"
    )
    parser.add_argument("--rounds", type=int, default=1, help="how often")
    parser.add_argument(
        "--clients", type=int, nargs="*", default=CLIENTS, help="how many at a time"
    )
    parser.add_argument("--bare", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.bare:
        first, turns = asked.engine[0], range(asked.rounds)
        rows = [[bare(first, n, asked.seconds, asked.bare) for n in asked.clients] for _ in turns]
        print(json.dumps([[[row.clients, row.seconds, row.times] for row in r] for r in rows]))
        return 0
    print(
        f"One request: one digit; one thread a call; {runtime.threads()} threads on this machine."
    )
    for engine in asked.engine:
        measure(engine, asked.seconds, asked.litserve, asked.rounds, tuple(asked.clients))
    return 0


if __name__ == "__main__":
    sys.exit(main())
