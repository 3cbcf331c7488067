"""The service as a process: a socket, and uvicorn on it."""

import gc
import ipaddress
import socket
import sys
from collections.abc import Collection, Iterable
from contextlib import nullcontext, suppress
from dataclasses import replace

import uvicorn

from autokd.errors import InputError
from autokd.service.app import make_app
from autokd.service.settings import LOCAL, Settings
from autokd.service.supervisor import supervising

__all__ = ["allowed_hosts", "allowed_origins", "listen", "run", "server"]

MOST_CONNECTIONS = 200
LARGEST_HEADERS = 2**14  # bytes
SWITCH_SECONDS = 5e-4  # so long a thread that computes keeps those that answer from going on; by default 5e-3


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at an address; port 0 takes a free one.

    Raises:
        InputError: If the address cannot be used.
    """
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise InputError(f"the service cannot listen at {host}, port {port}: {error.strerror or error}.") from None
    # Otherwise a body waits 40 ms until the client has acknowledged its headers: asyncio sees to it only for sockets
    # whose protocol is given, which here is the default one. What is accepted inherits it.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    return listening


def allowed_hosts(host: str, listening: socket.socket, further: Collection[str]) -> tuple[str, ...]:
    """The names by which a service may be called that listens at an address.

    Args:
        host: The address, as it was given.
        listening: What listens there.
        further: Names beside this machine's own and the address.

    Raises:
        InputError: If it listens at all addresses, and no name is given.
    """
    address = ipaddress.ip_address(listening.getsockname()[0])  # not of what was given: "" and "0" are all addresses
    if address.is_unspecified and not further:
        raise InputError(
            f"--host {host!r} listens at all addresses of this machine: say by --allow-host NAME how clients call it."
        )
    own = [f"[{host}]" if ":" in host else host] if host else []
    return *LOCAL, *own, *further


def allowed_origins(hosts: Iterable[str], port: int, further: Iterable[str]) -> frozenset[str]:
    """The origins whose scripts may call the service: its own, and further ones.

    Args:
        hosts: Names by which it may be called.
        port: Its port.
        further: Origins of others, such as `https://searches.example.org`.
    """
    ends = ["", ":80"] if port == 80 else [f":{port}"]  # browsers leave out the port that is usual
    own = (f"http://{host}{end}" for host in hosts for end in ends)
    return frozenset(origin.lower() for origin in (*own, *further))  # as browsers send them


def run(settings: Settings, listening: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM; unless it only reads, run what is in the queue."""
    sys.setswitchinterval(SWITCH_SECONDS)
    with settings.home.kept_open() as home:
        settings = replace(settings, home=home)
        serving = server(settings)
        gc.freeze()  # what was imported stays: to look through it for garbage kept all who ask waiting for 0.2 s
        queue = nullcontext() if settings.read_only else supervising(settings)
        with suppress(KeyboardInterrupt), queue:  # uvicorn ends its work first, then raises the signal again
            serving.run(sockets=[listening])


def server(settings: Settings) -> uvicorn.Server:
    """What serves, not started yet."""
    config = uvicorn.Config(
        make_app(settings),
        access_log=False,
        h11_max_incomplete_event_size=LARGEST_HEADERS,
        http="h11",
        lifespan="off",
        limit_concurrency=MOST_CONNECTIONS,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        ws="none",
    )
    return uvicorn.Server(config)
