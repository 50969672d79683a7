"""The network really is forbidden where the offline tests run, and only there."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.offline

HERE = Path(__file__).resolve().parent
# 192.0.2.0/24 is reserved for documentation: nobody answers there, whatever the network.
KNOCK = "import socket; socket.create_connection(({host!r}, {port}), timeout=5)"


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_an_address_is_refused_at_once_and_noted(island):
    done = island.run(sys.executable, "-c", KNOCK.format(host="192.0.2.1", port=80))
    assert "PermissionError: the network is forbidden here" in done.stderr
    assert island.attempts


@pytest.mark.parametrize("name", ["example.org", "xn--bcher-kva.example"])
def test_a_name_is_not_looked_up(island, name):
    done = island.run(sys.executable, "-c", KNOCK.format(host=name, port=443))
    assert "PermissionError: the network is forbidden here" in done.stderr
    assert island.attempts == [f"getaddrinfo {name}"]


def test_a_datagram_is_refused(island):
    code = "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'?', ('192.0.2.1', 53))"
    assert "the network is forbidden here" in island.run(sys.executable, "-c", code).stderr


def test_children_are_held_as_well(island):
    code = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', "
        f"{KNOCK.format(host='192.0.2.1', port=80)!r}])"
    )
    island.run(sys.executable, "-c", code)
    assert island.attempts


def test_loopback_stays_open_for_kernels(island):
    code = (
        "import socket; server = socket.create_server(('127.0.0.1', 0)); "
        "socket.create_connection(server.getsockname(), timeout=5); print('open')"
    )
    assert island.python(code) == "open\n"
    assert island.attempts == []


def test_compiled_code_finds_nothing_either(island, listener):
    """Without sitecustomize (-S) only the namespace is left, and it does not lead outside."""
    ask = "import sys, without_network; sys.exit(not without_network.enter_empty_network())"
    if subprocess.run([sys.executable, "-c", ask], cwd=HERE).returncode:
        pytest.skip("this kernel does not let us make a network namespace")
    knock = [sys.executable, "-S", "-c", KNOCK.format(host="127.0.0.1", port=listener)]
    assert subprocess.run(knock, capture_output=True).returncode == 0
    inside = island.run(*knock)
    assert inside.returncode != 0
    assert "refused" in inside.stderr
