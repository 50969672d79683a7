"""waitress, with three things added: a bounded queue, problem documents, and a graceful end.

It is a configuration of gunicorn as well, where there is fork (the models are loaded *after* the
fork: a process forked from one in which TensorFlow or PyTorch has computed hangs)::

    gunicorn -c python:utils.serving.lifecycle 'utils.serving.lifecycle:gunicorn_app()'
"""

import contextlib
import json
import logging
import os
import select
import signal
import threading
import time

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, WSGITask
from waitress.wasyncore import dispatcher

from utils.serving.app import Course, create_app
from utils.serving.config import Config
from utils.serving.problems import TYPE, body
from utils.serving.registry import Registry

QUIET = 0.3  # seconds without anything to do, before the end
_POLL = hasattr(select, "poll")
_log = logging.getLogger("course.serving")
logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # how long is too long, we decide


class _Task(WSGITask):
    """Tells the application when its request came, and the client when to go elsewhere."""

    def get_environment(self) -> dict:
        found = super().get_environment()
        found["course.arrived"] = getattr(self.request, "arrived", time.monotonic())
        found["course.full"] = getattr(self.request, "full", False)
        return found

    def build_response_header(self) -> bytes:
        if self.channel.server.stopping:
            self.set_close_on_finish()
        return super().build_response_header()


class _ErrorTask(ErrorTask):
    """A request that is no HTTP, or too large: said in the same form as all other errors."""

    def execute(self) -> None:
        error = self.request.error
        text = json.dumps(body(error.code, f"{error.reason}: {error.body}"[:300])).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", TYPE))
        self.set_close_on_finish()
        self.content_length = len(text)
        self.write(text)


class _Channel(HTTPChannel):
    task_class, error_task_class = _Task, _ErrorTask


class Server(TcpWSGIServer):
    """An application behind a socket, until `stop`.

    Parameters
    ----------
    app
        The application.
    host, port
        Where to listen; port 0 lets the system choose (see `port`).
    """

    channel_class = _Channel

    def __init__(self, app: Course, host: str = "127.0.0.1", port: int = 0) -> None:
        config = app.course
        adjustments = Adjustments(
            listen=f"{host}:{port}",
            threads=config.threads,
            connection_limit=2000,
            backlog=1024,
            channel_timeout=30,  # a client that says nothing for so long is gone
            max_request_body_size=8 * config.body,  # the application refuses earlier, in words
            recv_bytes=65_536,  # the default of 8 kB makes large bodies slow
            inbuf_overflow=16 * config.body,
            ident=None,
            clear_untrusted_proxy_headers=True,
        )
        # An answer's head and body leave together. (Given as an option, this is deprecated.)
        adjustments.send_bytes = 16_384
        self.app, self.limit, self.stopping = app, config.queue, False
        super().__init__(app, map={}, adj=adjustments, sockinfo=adjustments.listen[0])
        self.port = self.socket.getsockname()[1]

    def add_task(self, task: HTTPChannel) -> None:
        """A request is complete: put it into the line, or at least note that the line is full."""
        request = task.requests[0]
        request.arrived = time.monotonic()
        request.full = len(self.task_dispatcher.queue) >= self.limit
        super().add_task(task)

    def run(self) -> None:
        """Serve until `stop`, then until everything accepted is answered."""
        end = quiet = float("inf")
        while time.monotonic() < min(end, quiet):
            self.asyncore.loop(timeout=0.1, map=self._map, use_poll=_POLL, count=1)
            if self.stopping and self.accepting:
                end = time.monotonic() + self.app.course.drain_s
                self._stop_listening()
            # A request may be on its way through the system, unread: idle is what stays idle.
            if not self._idle():
                quiet = float("inf")
            elif quiet == float("inf"):
                quiet = time.monotonic() + QUIET
        _log.info("ending in good order" if quiet < end else "ending: out of time")
        self.task_dispatcher.shutdown(timeout=1)
        for channel in list(self.active_channels.values()):
            channel.handle_close()
        self.trigger.close()
        self.app.models.close()

    def stop(self) -> None:
        """Answer what was accepted, refuse what comes, end. Any thread may call this, twice too."""
        self.app.models.draining = self.stopping = True
        with contextlib.suppress(OSError, ValueError):  # it has ended already
            self.pull_trigger()

    def _stop_listening(self) -> None:
        # Whoever the system has let in already waits behind the socket: fetch them first.
        for _ in range(self.adj.connection_limit):
            if not select.select([self.socket], [], [], 0)[0]:
                break
            self.handle_accept()
        self.accepting = False
        dispatcher.close(self)

    def _idle(self) -> bool:
        return not self.accepting and not any(
            channel.requests or channel.request or channel.total_outbufs_len
            for channel in self.active_channels.values()
        )


def serve(config: Config, host: str, port: int) -> None:
    """Load the models, then serve until SIGTERM or Ctrl-C; SIGHUP reads the manifest again."""
    registry = Registry(config)
    registry.load()
    server = Server(create_app(config, registry), host, port)
    for name in ("SIGTERM", "SIGINT"):
        signal.signal(getattr(signal, name), lambda *_: server.stop())
    if hasattr(signal, "SIGHUP"):
        signal.signal(
            signal.SIGHUP, lambda *_: threading.Thread(target=_reload, args=[registry]).start()
        )
    print(f"Serving on http://{host}:{server.port}/ (process {os.getpid()})", flush=True)
    server.run()


def _reload(registry: Registry) -> None:
    try:
        registry.load()
    except Exception as error:
        _log.error("the manifest was not taken over: %s", error)


# gunicorn: threads in a few processes, each of which loads its own models.
worker_class = "gthread"
workers, threads = 2, 4
graceful_timeout = 20


def gunicorn_app() -> Course:
    """An application without models; `post_worker_init` loads them."""
    config = Config()
    return create_app(config, Registry(config))


def post_worker_init(worker) -> None:
    """Load the models in the worker, after the fork."""
    worker.wsgi.models.load()
