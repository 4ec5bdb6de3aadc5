"""An ASGI app in several processes under Ray Serve, which shares out the requests and replaces what dies."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

from mercat.compute.ray import connect, gpus, switched
from mercat.errors import WorkerLost, missing_extra

_DRAIN_S = 30.0
_LOOK_S = 2.0  # between two looks at a replica; a dead one is replaced after it
_TRIES = 3  # to start a replica


def serve_on_ray(
    make: Callable[[], Any], *, replicas: int, host: str, port: int, at_once: int, name: str = "mercat"
) -> Callable[[], None]:
    """Serve an app by so many processes on one address; return what ends it, once every replica is ready.

    `make` builds the app and is sent to each of them: a function of an installed module, with arguments by
    `functools.partial`; a replica gets requests from when it has returned, `at_once` at most. Where Ray has a GPU for
    each, each gets one. Raises MissingExtra without ray, WorkerLost when the app, or Ray Serve itself, does not start.
    """
    cpus = connect(replicas)
    try:
        from ray import serve
    except ImportError as error:
        raise missing_extra("Several replicas", "ray[serve]", "ray") from error
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    quiet = {"log_level": "ERROR", "enable_access_log": False}  # an access log would hold paths
    resources = {"num_cpus": cpus, "num_gpus": int(gpus() >= replicas)}
    with switched(), redirect_stdout(sys.stderr):
        deploy: Any = serve.deployment  # its overloads know no class that is made while running
        deployment = deploy(serve.ingress(_builder(make, Path.cwd()))()).options(
            name=name,
            num_replicas=replicas,
            max_ongoing_requests=at_once,
            ray_actor_options=resources,
            graceful_shutdown_timeout_s=_DRAIN_S,
            health_check_period_s=_LOOK_S,
            max_constructor_retry_count=_TRIES,
            logging_config=quiet,
        )
        try:
            serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port}, logging_config=quiet)
            serve.run(deployment.bind(), name=name, route_prefix="/", logging_config=quiet)
        except Exception as error:
            with suppress(Exception):  # where Serve itself did not come up
                serve.delete(name)
            raise _not_started(replicas, error) from error
    return lambda: serve.delete(name)


def _builder(make: Callable[[], Any], folder: Path) -> Callable[[], Any]:
    """Ray takes a plain function, which it sends as it stands."""

    def build() -> Any:
        if folder.is_dir():  # Ray works in a folder of its own, where relative paths lead nowhere
            os.chdir(folder)
        return make()

    return build


def _not_started(replicas: int, error: Exception) -> WorkerLost:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else type(error).__name__)
    return WorkerLost(
        f"{replicas} replicas of the server were to start",
        f"They did not: {said}",
        "mercat serve --set mercat.serve.replicas=1 shows what is wrong",
    )
