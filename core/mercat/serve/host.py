"""What one running server holds: the open workspace, the services behind their batchers, the measurements."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import threading
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from mercat.errors import ConfigError, unknown_name
from mercat.serve import mount
from mercat.serve.ask import Served, api, served
from mercat.serve.gate import StoreGate
from mercat.serve.home import home_router
from mercat.serve.metrics import Metrics
from mercat.serve.readiness import Readiness, warm
from mercat.serve.settings import Settings
from mercat.serve.signing import signing_key
from mercat.web.passwords import hash_password

if TYPE_CHECKING:
    from mercat.store import Store
    from mercat.workspace import Workspace


class Host:
    """Opens, builds and warms in a thread of its own; mounts what was built; closes all of it."""

    def __init__(self, open_workspace: Callable[[], Workspace], *, log: Any, settings: Settings | None) -> None:
        self._open, self._given, self.log = open_workspace, settings, log
        self.settings = settings or Settings()
        self.metrics, self.readiness = Metrics(), Readiness()
        self.services: list[Served] = []
        self.on_failure: Callable[[BaseException], None] = lambda error: None
        self.on_first_account: Callable[[str, str], None] | None = None
        self.background: Callable[[Workspace, threading.Event], None] | None = None
        self._workspace: Workspace | None = None
        self._thread: threading.Thread | None = None
        self._stopping, self._stop = False, threading.Event()
        self._worker: threading.Thread | None = None

    @property
    def workspace(self) -> Workspace:
        """The open workspace. Routes that need it exist only once it is there. Raises ConfigError before that."""
        if self._workspace is None:
            raise ConfigError("The workspace", "It is not open yet", "/readyz")
        return self._workspace

    def load(self) -> dict[str, Any]:
        """Open the workspace, build and warm its services and routers; return the routers by section."""
        workspace = self._workspace = self._open()
        self.settings = self._given or Settings.read(workspace.config.get("mercat.serve", {}))
        if self.on_first_account is not None:
            first_account(workspace.store, self.on_first_account)
        warm(workspace, done=self._done)
        names = workspace.config.sections("services")
        self.services = [served(workspace, name, settings=self.settings, metrics=self.metrics) for name in names]
        return {name: workspace.get("routers", name) for name in workspace.config.sections("routers")}

    def show(self, app: FastAPI, routers: dict[str, Any]) -> None:
        """Mount what `load` built and become ready."""
        workspace = self.workspace
        app.state.gate = StoreGate(signing_key(workspace.folder), self.settings, store=lambda: workspace.store)
        app.state.frame_origins, app.state.ask = self.settings.frame_origins, self.ask
        for name, router in routers.items():
            mount.mount(app, name, router)
        home = home_router(self)
        app.state.nav = [*app.state.nav, *mount.nav_of(home)]
        app.include_router(home)
        app.include_router(api(self.services, settings=self.settings), prefix="/v1")
        mount.check(app.routes, "mercat")
        self.readiness.state = "ready"
        self.metrics.ready.set(1)
        if self.background is not None:
            self._worker = threading.Thread(target=self._work, args=(self.background,), name="mercat-background")
            self._worker.start()
        self.log.info("ready", parts=len(self.readiness.took_s), services=[service.name for service in self.services])

    def start(self, app: FastAPI, loop: asyncio.AbstractEventLoop) -> None:
        """Load in the background and mount on the event loop's thread."""

        def show(routers: dict[str, Any]) -> None:
            try:
                self.show(app, routers)
            except BaseException as error:
                self._fail(error)

        def run() -> None:
            try:
                routers = self.load()
                if not self._stopping:
                    loop.call_soon_threadsafe(show, routers)
            except BaseException as error:
                if not self._stopping:
                    loop.call_soon_threadsafe(self._fail, error)

        self._thread = threading.Thread(target=run, name="mercat-load", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Stop the batchers and close the workspace."""
        self._stopping = True
        self._stop.set()
        for service in self.services:
            await service.batcher.close()
        for thread in (self._thread, self._worker):
            if thread is not None:
                await asyncio.to_thread(thread.join, 30)
        if self._workspace is not None:
            await asyncio.to_thread(self._workspace.close)

    async def ask(self, service: str, question: Any) -> Any:
        """Answer a question of a page. It goes the way of those that come by the API: batch, review, observation."""
        batchers = {each.name: each.batcher for each in self.services}
        if service not in batchers:
            raise unknown_name("service", service, batchers, next="mercat config")
        if not question.id:
            question = dataclasses.replace(question, id=uuid.uuid4().hex)
        return await batchers[service].ask(question)

    def backlog(self) -> dict[str, int]:
        """Return the number of outbox rows by state, of those not delivered; at most 1,000 are counted."""
        if self._workspace is None:
            return {}
        store = self._workspace.store
        return {state: len(store.outbox(state, limit=1000)) for state in ("waiting", "dead")}

    def plugins(self) -> list[Any]:
        return [row for row in self.workspace.plugins.rows() if row.state != "listed"]

    def _work(self, work: Callable[[Workspace, threading.Event], None]) -> None:
        try:
            work(self.workspace, self._stop)
        except Exception as error:
            self.log.error("background_stopped", error=type(error).__name__, text=str(error))

    def _done(self, part: str, took_s: float) -> None:
        self.readiness.took_s[part] = took_s
        self.metrics.load.labels(part).set(took_s)
        self.log.info("built", part=part, seconds=round(took_s, 3))

    def _fail(self, error: BaseException) -> None:
        self.readiness.state, self.readiness.failure = "failed", error
        self.log.error("not_ready", error=type(error).__name__, text=str(error))
        self.on_failure(error)


def first_account(store: Store, tell: Callable[[str, str], None]) -> None:
    """Make an administrator with a random password where there is nobody yet, and tell it this once."""
    if not store.accounts.users():
        password = secrets.token_urlsafe(15)
        store.accounts.set_user("admin", hash_password(password), ["admin"])
        tell("admin", password)
