"""Meters of the service for ``GET /metrics``, in Prometheus' text: requests, seconds by step, memory, queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Meters:
    """Counters of one service.

    Args:
        waiting: tells how many requests wait.
    """

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        known = {"namespace": "msmedcap", "registry": self._registry}
        self._requests = Counter("requests", "Requests by route and status", ["method", "route", "status"], **known)
        self._steps = Histogram("step_seconds", "Seconds of each captioning step", ["step"], buckets=BUCKETS, **known)
        Gauge("queue_waiting", "Requests that wait for the network", **known).set_function(waiting)

    def request(self, method: str, route: str, status: int) -> None:
        self._requests.labels(method, route, str(status)).inc()

    def steps(self, seconds: Mapping[str, float]) -> None:
        for step, value in seconds.items():
            self._steps.labels(step).observe(value)

    def text(self) -> bytes:
        return generate_latest(self._registry)
