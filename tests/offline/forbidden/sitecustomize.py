"""Python starts here when the network is forbidden: sockets reach loopback and nothing else."""

import ipaddress
import os
import socket

LOCAL = ("localhost", "127.0.0.1", "::1", "", None)


def _refuse(what, host):
    log = os.environ.get("COURSE_NETWORK_LOG")
    if log:
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{what} {host}\n")
    raise PermissionError(f"the network is forbidden here: {what} {host}")


def _is_local(host):
    if isinstance(host, bytes):
        host = host.decode()
    if host in LOCAL or host == socket.gethostname():
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _guard_method(name):
    original = getattr(socket.socket, name)

    def guarded(self, *arguments):
        # The address comes last, as in connect(address) and sendto(bytes, address).
        address = arguments[-1]
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0]):
            _refuse(name, address[0])
        return original(self, *arguments)

    setattr(socket.socket, name, guarded)


def _guard_lookup(name):
    original = getattr(socket, name)

    def guarded(host, *arguments, **options):
        if not _is_local(host):
            _refuse(name, host)
        return original(host, *arguments, **options)

    setattr(socket, name, guarded)


for method in ("connect", "connect_ex", "sendto"):
    _guard_method(method)
for lookup in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
    _guard_lookup(lookup)
