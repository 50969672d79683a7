"""Fetching files from the first mirror that serves them, in seconds or not at all.

A learner without a network must not wait: connections time out quickly, a mirror that stops
talking is left, and after too many of those the rest is not tried.
"""

import http.client
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from utils.data.idx import BadBytesError

CONNECT_SECONDS = 3.0
SILENCE_SECONDS = 6.0  # how long a mirror may say nothing, name look-up included
PATIENCE_SECONDS = 12.0  # how long to wait in all for mirrors that say nothing
ATTEMPTS = 2
PAUSE_SECONDS = 0.5


class MirrorError(Exception):
    """A download that did not work, and why.

    `again`: whether a second attempt may help. `mute`: whether the mirror said nothing at all.
    """

    def __init__(self, reason: str, again: bool = False, mute: bool = False):
        super().__init__(reason)
        self.again, self.mute = again, mute


class _Sink:
    """A file in memory that notes when it last grew and refuses to grow for ever."""

    def __init__(self, limit: int):
        self.data, self.limit = bytearray(), limit
        self.touched, self.abandoned = time.monotonic(), False

    def write(self, chunk: bytes) -> None:
        if self.abandoned:
            raise MirrorError("nobody waits for it any longer")
        self.data += chunk
        self.touched = time.monotonic()
        if len(self.data) > self.limit:
            raise MirrorError("sends more than the file can hold")

    def flush(self) -> None:
        """Do nothing: the downloader expects a file's methods."""


def fetch(
    addresses: Sequence[str],
    sizes: Mapping[str, int],
    accept: Callable[[str, bytes], None],
) -> str:
    """Download files, each from the first mirror that delivers it whole.

    Parameters
    ----------
    addresses
        The mirrors, in order of preference; each ends in a slash.
    sizes
        The names of the files with their lengths in bytes when unpacked.
    accept
        Called with the name and the bytes of each file as it arrives; raises `BadBytesError` to
        refuse it, and then it is asked for again, here and elsewhere.

    Returns
    -------
    Why each mirror was left, in words; empty if the first one delivered everything.
    """
    missing, waited = dict(sizes), 0.0
    reasons: dict[str, list[str]] = {}  # what went wrong -> where
    for address in addresses:
        if not missing or waited > PATIENCE_SECONDS:
            break
        started = time.monotonic()
        try:
            for name in list(missing):
                _attempt(address + name, name, missing[name], accept)
                del missing[name]
        except MirrorError as error:
            host = urlsplit(address).netloc
            hosts = reasons.setdefault(str(error), [])
            hosts += [host] if host not in hosts else []
            waited += time.monotonic() - started if error.mute else 0.0
    return "; ".join(f"{', '.join(hosts)}: {reason}" for reason, hosts in reasons.items())


def _attempt(url: str, name: str, size: int, accept: Callable[[str, bytes], None]) -> None:
    for left in reversed(range(ATTEMPTS)):
        try:
            accept(name, _download(url, limit=2 * size + 1024))
            return
        except BadBytesError as error:
            failure = MirrorError(f"the file {error}", again=True)
        except MirrorError as error:
            failure = error
        if not left or not failure.again:
            raise failure
        time.sleep(PAUSE_SECONDS)


def _download(url: str, limit: int) -> bytes:
    """Download `url` in a thread of its own, and leave it when it falls silent.

    A look-up of a host's name knows no timeout, and a timeout for reading starts anew with each
    byte: only somebody who watches from outside can keep the promise of a few seconds.
    """
    import pooch

    sink, outcome = _Sink(limit), []
    # Proxies and certificates of the environment hold, as for any download. The socket's own
    # timeout for reading is the longer one: it only lets an abandoned thread end.
    loader = pooch.HTTPDownloader(
        progressbar=False, chunk_size=4096, timeout=(CONNECT_SECONDS, 2 * SILENCE_SECONDS)
    )

    def work() -> None:
        try:
            loader(url, sink, None)
            outcome.append(None)
        except BaseException as error:  # handed to the waiting thread, which knows what to do
            outcome.append(error)

    thread = threading.Thread(target=work, name="download", daemon=True)
    thread.start()
    try:
        while thread.is_alive() and time.monotonic() - sink.touched < SILENCE_SECONDS:
            thread.join(0.05)
    finally:
        sink.abandoned = True  # nobody reads on, be it done, silent or interrupted
    if not outcome:
        raise MirrorError(f"no answer for {SILENCE_SECONDS:g} s", mute=True)
    if outcome[0] is not None:
        raise _translate(outcome[0]) from None
    return bytes(sink.data)


def _translate(error: BaseException) -> BaseException:
    import requests.exceptions as wrong

    if isinstance(error, wrong.HTTPError):
        status = error.response.status_code
        phrase = http.client.responses.get(status, "an error")
        return MirrorError(f"the answer is {status} {phrase}", again=status >= 500 or status == 429)
    if isinstance(error, wrong.SSLError):
        return MirrorError("its certificate is not valid")
    if isinstance(error, wrong.ChunkedEncodingError | wrong.ContentDecodingError):
        return MirrorError("the connection broke off", again=True)
    if isinstance(error, wrong.ConnectionError | wrong.Timeout):
        # A name that is not found or a refused connection will not change in half a second.
        return MirrorError("cannot be reached", mute=True)
    if isinstance(error, wrong.RequestException):
        return MirrorError(f"the request failed ({type(error).__name__})")
    return error
