"""Several processes that answer on one address, under Ray Serve; what is not answering is done here, once."""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mercat.compute.serving import serve_on_ray
from mercat.jobs import reload_beside
from mercat.serve.app import create_app
from mercat.serve.host import first_account
from mercat.serve.run import bound
from mercat.serve.settings import Settings
from mercat.serve.signing import signing_key
from mercat.workspace import Workspace

if TYPE_CHECKING:
    from fastapi import FastAPI


def run_replicas(
    config: Path,
    *,
    overrides: Sequence[str] = (),
    settings: Settings,
    host: str = "127.0.0.1",
    port: int = 8350,
    on_first_account: Callable[[str, str], None] | None = None,
    background: Callable[[Workspace, threading.Event], None] | None = None,
    on_ready: Callable[[int], None] = lambda port: None,
) -> None:
    """Serve a configuration by `settings.replicas` processes until this one is told to stop.

    Each opens the configuration by itself, so all that they have in common is rows in the store, artifacts and indexes.
    `background` runs in this process alone, so that a delivery is made once; `on_ready` is told the port when
    all replicas are ready. The rest: see `run` and `serve_on_ray`.
    """
    with Workspace.open(config, overrides=overrides) as workspace:
        if on_first_account is not None:
            first_account(workspace.store, on_first_account)
        signing_key(workspace.folder)  # one for all
        make = functools.partial(replica, str(config.resolve()), tuple(overrides))
        with bound(host, port) as free:  # Ray would say of a taken port that something did not start
            port = free.getsockname()[1]
        end = serve_on_ray(make, replicas=settings.replicas, host=host, port=port, at_once=settings.max_queue)
        try:
            with _told_to_stop() as stop:  # after Ray's start, which takes the signals for itself
                on_ready(port)
                (background or _wait)(workspace, stop)
        finally:
            end()


def replica(config: str, overrides: tuple[str, ...]) -> FastAPI:
    """Return the app of one replica, with everything loaded: Ray asks it from then on."""
    return create_app(lambda: Workspace.open(config, overrides=overrides), preload=True, background=reload_beside)


def _wait(workspace: Workspace, stop: threading.Event) -> None:
    while not stop.wait(1.0):  # a signal is heard between two waits
        pass


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """Set an event at the first signal to end, for the block; the handlers before are put back."""
    stop = threading.Event()

    def told(number: int, frame: Any) -> None:
        stop.set()

    before = {number: signal.signal(number, told) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
