"""`/metrics`: what the service does, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from fastapi import APIRouter, Request, Response
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cvpipe.api.identity import METRICS
from cvpipe.api.resources import StoreDep
from cvpipe.errors import StoreUnavailable
from cvpipe.job import ModelUse
from cvpipe.store import Store

router = APIRouter(include_in_schema=False)

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60)


class HttpMetrics:
    """Counts requests by the template of their route, not by their path: the number of series stays bounded.

    process: which of several on one port this is; each counts its own, and says which one it is.
    """

    def __init__(self, process: int | None = None) -> None:
        self.process = process
        disable_created_metrics()  # type: ignore[no-untyped-call] # of the whole process: a second series for each one, which nobody asks for
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "cvpipe_http_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "cvpipe_http_request_seconds",
            "Time until an answer begins; its own length does not count, since streams have no end.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.open = Gauge(
            "cvpipe_http_requests_open", "Requests being answered, streams included.", registry=self.registry
        )
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        series = self._series.get((method, route, status))
        if series is None:  # bounded, as they are
            series = self.requests.labels(method, route, str(status)), self.seconds.labels(method, route)
            self._series[method, route, status] = series
        series[0].inc()
        series[1].observe(seconds)


class CountRequests:
    """Tells HttpMetrics of every request."""

    def __init__(self, app: ASGIApp, *, metrics: HttpMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        counted = False

        def count(status: int) -> None:
            nonlocal counted
            counted = True
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.count(method, route, status, time.perf_counter() - began)

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start" and not counted:
                count(message["status"])
            await send(message)

        self._metrics.open.inc()
        try:
            await self._app(scope, receive, send_counted)
        finally:
            self._metrics.open.dec()
            if not counted:  # nothing was sent: the error handler answers outside of here
                count(500)


class OwnMetrics(Collector):
    """HttpMetrics, each with the number of the process."""

    def __init__(self, metrics: HttpMetrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """The metrics."""
        for family in self._metrics.registry.collect():
            if self._metrics.process is not None:
                label = {"process": str(self._metrics.process)}
                family.samples = [sample._replace(labels={**sample.labels, **label}) for sample in family.samples]
            yield family


class StoreMetrics(Collector):
    """What the store holds, read at each scrape."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        """The metrics, or just that the store does not answer."""
        up = GaugeMetricFamily("cvpipe_store_up", "Whether the store answers.")
        try:
            jobs, (tasks, overdue) = self._store.job_counts(), self._store.due_counts()
        except StoreUnavailable:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        by_state = GaugeMetricFamily("cvpipe_jobs", "Jobs the store holds.", labels=["state"])
        for state, number in jobs.items():
            by_state.add_metric([state], number)
        yield by_state
        yield GaugeMetricFamily("cvpipe_tasks", "Tasks that wait, run, or are to be tried again.", value=tasks)
        yield GaugeMetricFamily("cvpipe_tasks_overdue", "Tasks due for over 10 s that nobody has taken.", value=overdue)


class EngineMetrics(Collector):
    """What the networks of all workers have done, as they last said it: a series for each worker and model."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        """The metrics; none where the store does not answer."""
        try:
            workers = [worker for worker in self._store.workers() if worker.engine]
        except StoreUnavailable:
            return
        names = ("worker", "device", "model")
        sums = {
            field: CounterMetricFamily(f"cvpipe_network_{name}", words, labels=names)
            for field, (name, words) in _USES.items()
        }
        fill = GaugeMetricFamily("cvpipe_network_batch_fill", "How full calls were since the start.", labels=names)
        waste = GaugeMetricFamily(
            "cvpipe_network_padding_waste", "Share of computed pictures that were blank.", labels=names
        )
        memory = GaugeMetricFamily("cvpipe_model_bytes", "Memory of models that are loaded.", labels=names)
        limit = GaugeMetricFamily("cvpipe_models_limit_bytes", "Memory that models may take.", labels=names[:2])
        decoded = CounterMetricFamily(
            "cvpipe_decoded_frames", "Frames read, by what decoded them.", labels=["worker", "decoder"]
        )
        for worker in workers:
            engine = worker.engine or {}
            here = [worker.name, str(engine.get("device"))]
            for model, use in engine.get("models", {}).items():
                for field, family in sums.items():
                    family.add_metric([*here, model], use[field])
                told = ModelUse.of(use)
                fill.add_metric([*here, model], told.batch_fill)
                waste.add_metric([*here, model], told.padding_waste)
            for model, size in engine.get("loaded", {}).items():
                memory.add_metric([*here, model], size)
            if engine.get("limit_bytes"):
                limit.add_metric(here, engine["limit_bytes"])
            for decoder, frames in engine.get("decoded", {}).items():
                decoded.add_metric([worker.name, decoder], frames)
        yield from (*sums.values(), fill, waste, memory, limit, decoded)


_USES: Final = {
    "pictures": ("pictures", "Pictures that networks looked at."),
    "calls": ("calls", "Calls of the device."),
    "wait_seconds": ("queue_seconds", "Time that pictures waited for their call."),
    "device_seconds": ("device_seconds", "Time that calls took."),
}


@router.get("/metrics", dependencies=[METRICS])
def get_metrics(request: Request, store: StoreDep) -> Response:
    """Metrics in Prometheus' text format."""
    metrics: HttpMetrics = request.app.state.metrics
    scrape = CollectorRegistry()
    scrape.register(OwnMetrics(metrics))
    scrape.register(StoreMetrics(store))
    scrape.register(EngineMetrics(store))
    return Response(generate_latest(scrape), media_type=CONTENT_TYPE_LATEST)
