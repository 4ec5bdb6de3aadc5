"""Prometheus metrics of one server: no texts, no names of people, only counts and times."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LATENCIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The metrics of one app, in a registry of its own, so that two apps in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "mercat_requests_total", "Requests", ("method", "route", "status"), registry=self.registry
        )
        self.latency = Histogram(
            "mercat_request_seconds", "Time to answer", ("route",), buckets=LATENCIES, registry=self.registry
        )
        self.batch_size = Histogram(
            "mercat_batch_size", "Requests per batch", ("service",), buckets=SIZES, registry=self.registry
        )
        self.batch_seconds = Histogram(
            "mercat_batch_seconds", "Time per batch", ("service",), buckets=LATENCIES, registry=self.registry
        )
        self.queue = Gauge("mercat_queue_length", "Requests that wait", ("service",), registry=self.registry)
        self.load = Gauge("mercat_load_seconds", "Time to build and warm a part", ("part",), registry=self.registry)
        self.outbox = Gauge("mercat_outbox_backlog", "Outbox rows not delivered", ("state",), registry=self.registry)
        self.ready = Gauge("mercat_ready", "1 once every service is built and warm", registry=self.registry)

    def batch_observer(self, service: str) -> Callable[[int, float], None]:
        """Return what a Batcher calls after each batch."""
        size, seconds = self.batch_size.labels(service), self.batch_seconds.labels(service)

        def observe(count: int, took_s: float) -> None:
            size.observe(count)
            seconds.observe(took_s)

        return observe

    def watch_queue(self, service: str, length: Callable[[], float]) -> None:
        self.queue.labels(service).set_function(length)

    def text(self, backlog: Mapping[str, int]) -> bytes:
        """Return everything in the Prometheus text format, with the outbox as it is now."""
        for state, count in backlog.items():
            self.outbox.labels(state).set(count)
        return generate_latest(self.registry)
