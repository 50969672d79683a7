"""Run a command that cannot reach the network: ``python without_network.py COMMAND …``.

Two walls. Where the kernel allows it (Linux), the command lives in a network namespace of its own
that holds nothing but a loopback device: that stops compiled code as well. And everywhere
``forbidden/sitecustomize.py`` makes Python's sockets refuse all but loopback, at once and in words,
and notes each attempt in the file that ``COURSE_NETWORK_LOG`` names.
"""

import ctypes
import os
import struct
import sys
from pathlib import Path

FORBIDDEN = Path(__file__).resolve().parent / "forbidden"
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1


def enter_empty_network() -> bool:
    """Move this process into a network namespace with a loopback device and nothing else."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) and libc.unshare(CLONE_NEWUSER | CLONE_NEWNET):
        return False
    import fcntl
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        # A new loopback device is down, and Jupyter's kernels talk over it.
        request = struct.pack("16sh14x", b"lo", IFF_UP)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)
    return True


if __name__ == "__main__":
    enter_empty_network()
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(FORBIDDEN), *([path] if path else [])])
    os.execvp(sys.argv[1], sys.argv[1:])
