"""Run the server in this process until it is told to stop."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import uvicorn

from mercat.errors import ConfigError
from mercat.serve.app import create_app
from mercat.serve.settings import Settings

if TYPE_CHECKING:
    from mercat.workspace import Workspace


def run(
    open_workspace: Callable[[], Workspace],
    *,
    host: str = "127.0.0.1",
    port: int = 8350,
    settings: Settings | None = None,
    proxies: str = "127.0.0.1",
    on_first_account: Callable[[str, str], None] | None = None,
    background: Callable[[Workspace, threading.Event], None] | None = None,
) -> None:
    """Serve on one address. Raises what made the start fail, after the server has stopped.

    Where nobody may sign in yet, `on_first_account` is told the name and password of a new administrator, once.
    `background` runs in a thread of its own from ready on, for deliveries and schedules, until its event is set.
    `proxies` are the addresses whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    """
    listening = bound(host, port)
    app = create_app(open_workspace, settings=settings, background=background)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=proxies,
        timeout_graceful_shutdown=30,
    )
    server = uvicorn.Server(config)

    def stop(error: BaseException) -> None:
        server.should_exit = True

    app.state.host.on_failure = stop
    app.state.host.on_first_account = on_first_account
    server.run(sockets=[listening])
    if (failure := app.state.host.readiness.failure) is not None:
        raise failure


def bound(host: str, port: int) -> socket.socket:
    """Take the port before anything is loaded. Raises ConfigError when it cannot be had."""
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(kind, socket.SOCK_STREAM)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, port))
    except (OSError, OverflowError) as error:
        with contextlib.suppress(OSError):
            taken.close()
        cure = "mercat serve --host 127.0.0.1 --port 8766"
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"The server cannot listen on {host}, port {port}", why, cure) from error
    return taken
