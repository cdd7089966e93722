"""Metrics: what a hall tells about itself, in the text format of Prometheus.

Everything is counted or kept anyway, as plain numbers of the parts that know them; here they are
read, once for each scrape, on the loop's thread. :data:`METRICS` is the closed list, and
``docs/reference/metrics.md`` is made from it.

Whoever edits this file: a label's values come from a closed list (doors, actions, codes, jobs).
Nothing here names a member, a session, an address or a file, and nobody who calls can add a value.
"""

import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from moothall import __version__
from moothall.action.connections import Connections
from moothall.action.hub import FeedHub
from moothall.app.compose import Hall
from moothall.app.doors import CountedDoor, Door
from moothall.core.histogram import Histogram
from moothall.ports.metrics import Measure, Measured

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family
    from prometheus_client.registry import Collector

PREFIX = "moothall_"

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of the classic text format, which everything that reads metrics understands."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its kind, what it means, and by what it is told apart."""

    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()


METRICS: Mapping[str, Metric] = {
    "build_info": Metric(
        "gauge",
        "Always 1; the labels say what runs.",
        ("version", "python", "engine"),
    ),
    "open": Metric("gauge", "1 while calls are welcome, 0 while the hall starts or stops."),
    "calls_total": Metric(
        "counter",
        "Calls that were answered, by code, `ok` where they succeeded. `unknown` stands for "
        "every name that is no action. Calls refused at a door are in `limits_hit_total`.",
        ("action", "code"),
    ),
    "call_duration_seconds": Metric(
        "histogram",
        "From the whole request to its reply, by the effect of the action (`read`, `write`, "
        "`flow`); for a write it includes the wait for the writer and the commit.",
        ("effect",),
    ),
    "limits_hit_total": Metric(
        "counter",
        "Calls refused for coming too often: by the limit of an address over all calls "
        "(`source`), by an action's limit for an address (`action`) or for a member (`member`).",
        ("limit",),
    ),
    "connections": Metric(
        "gauge", "Open connections, those in a TLS handshake included.", ("door",)
    ),
    "connections_refused_total": Metric(
        "counter", "Connections turned away before TLS, because there were too many.", ("door",)
    ),
    "tls_handshakes_waiting": Metric(
        "gauge", "Connections that wait for their turn to begin TLS.", ("door",)
    ),
    "clients": Metric(
        "gauge",
        "Clients that stay connected, by what they speak; calls by HTTPS are not among them.",
        ("door",),
    ),
    "clients_signed_in": Metric("gauge", "Those of them that have signed in.", ("door",)),
    "sessions_connected": Metric("gauge", "Sessions that have at least one such client."),
    "members_connected": Metric("gauge", "Members who have at least one such client."),
    "subscriptions": Metric("gauge", "Feeds that are followed, each counted for each reader."),
    "events_published_total": Metric(
        "counter", "Events that became known here after their commit, followed or not."
    ),
    "events_delivered_total": Metric(
        "counter",
        "Events sent to readers, each counted for each reader: right after the commit "
        "(`commit`), or from the rows to one who began or came back (`rows`).",
        ("way",),
    ),
    "feed_lag_seconds": Metric(
        "histogram",
        "Age of the newest event when a batch of events had been handed to its readers.",
    ),
    "writes_waiting": Metric(
        "gauge",
        "Writes that wait for a batch (20,000 at most), or with PostgreSQL for a connection.",
    ),
    "writes_waiting_in_lanes": Metric(
        "gauge", "Writes that wait until others of the same resource are done; with PostgreSQL."
    ),
    "write_reruns_total": Metric(
        "counter", "With PostgreSQL: writes run again because another call was in their way."
    ),
    "write_batch_calls": Metric("histogram", "Calls that shared one commit."),
    "commit_duration_seconds": Metric(
        "histogram", "How long commits took that wrote something, with their sync."
    ),
    "commit_last_duration_seconds": Metric("gauge", "How long the last of them took."),
    "long_reads_running": Metric(
        "gauge", "Reads on SQLite's reader threads, after their first ms."
    ),
    "reads_waiting": Metric(
        "gauge", "Reads that wait for a reader thread, or with PostgreSQL for a connection."
    ),
    "log_pages": Metric("gauge", "Length of SQLite's log after the last commit, of 4 KiB each."),
    "tail_age_seconds": Metric(
        "gauge",
        "With PostgreSQL: since when this node has not learned what the others did. Above 2 it "
        "refuses calls, and is not ready.",
    ),
    "tail_round_duration_seconds": Metric(
        "histogram", "With PostgreSQL: how long it took to look once at what the others did."
    ),
    "tail_unsettled_events": Metric(
        "gauge", "With PostgreSQL: events delivered before one with a lower number was settled."
    ),
    "bus_connected": Metric("gauge", "With a bus: 1 while it carries hints, 0 otherwise."),
    "bus_hints_published_total": Metric("counter", "With a bus: hints sent to the other nodes."),
    "bus_hints_dropped_total": Metric(
        "counter", "With a bus: hints not sent. Nothing is lost by that; others learn later."
    ),
    "bus_hints_received_total": Metric("counter", "With a bus: hints of other nodes."),
    "bus_reconnections_total": Metric(
        "counter", "With a bus: connections that began after the first one."
    ),
    "job_runs_total": Metric("counter", "Runs of a job that began.", ("job",)),
    "job_failures_total": Metric("counter", "Runs of a job that failed.", ("job",)),
    "job_last_success_timestamp_seconds": Metric(
        "gauge", "When a job last succeeded (epoch seconds); missing until it has.", ("job",)
    ),
}
"""Every metric of a hall, by its name without the prefix; those of the process come with the
library and begin with ``process_``."""


class Reading(NamedTuple):
    """One number, under its metric's name and with its labels' values."""

    name: str
    value: Measure
    labels: tuple[str, ...] = ()


Readings: TypeAlias = Iterable[Reading]


def read_metrics(
    hall: Hall, doors: Iterable[Door], measured: Iterable[Measured], feed_lag: Histogram
) -> Iterator[Reading]:
    """Yield what an open hall tells; from memory, and quick.

    Args:
        hall: The hall.
        doors: Its doors.
        measured: Its parts that measure themselves, the database among them.
        feed_lag: How old events were when they had been delivered, in seconds.
    """
    engine = hall.database.engine
    yield Reading("build_info", 1, (__version__, platform.python_version(), engine))
    yield from _read_calls(hall)
    yield from _read_doors(doors)
    yield from _read_clients(hall.house.use(Connections))
    yield from _read_feeds(hall.house.use(FeedHub), feed_lag)
    yield from _read_jobs(hall)
    for part in measured:
        for name, value in part.measures().items():
            yield Reading(name, value)


def _read_calls(hall: Hall) -> Iterator[Reading]:
    tally = hall.pipeline.tally
    for action, code, number in tally.outcomes():
        yield Reading("calls_total", number, (action, code))
    for effect, seconds in tally.seconds.items():
        yield Reading("call_duration_seconds", seconds, (effect.value,))
    for limit, number in tally.refusals.items():
        yield Reading("limits_hit_total", number, (limit,))


def _read_doors(doors: Iterable[Door]) -> Iterator[Reading]:
    for door in doors:
        if isinstance(door, CountedDoor):
            name, listener = (door.name,), door.listener
            yield Reading("connections", listener.connections, name)
            yield Reading("connections_refused_total", listener.refused, name)
            yield Reading("tls_handshakes_waiting", listener.handshakes_waiting, name)


def _read_clients(connections: Connections) -> Iterator[Reading]:
    clients: dict[str, int] = {}
    signed_in: dict[str, int] = {}
    for connection in connections:
        door = connection.door
        clients[door] = clients.get(door, 0) + 1
        signed_in[door] = signed_in.get(door, 0) + (connection.claims is not None)
    for door, number in clients.items():
        yield Reading("clients", number, (door,))
        yield Reading("clients_signed_in", signed_in[door], (door,))
    yield Reading("sessions_connected", connections.sessions)
    yield Reading("members_connected", connections.members)


def _read_feeds(hub: FeedHub, feed_lag: Histogram) -> Iterator[Reading]:
    yield Reading("subscriptions", hub.readers)
    yield Reading("events_published_total", hub.published)
    yield Reading("events_delivered_total", hub.delivered, ("commit",))
    yield Reading("events_delivered_total", hub.read_later, ("rows",))
    yield Reading("feed_lag_seconds", feed_lag)


def _read_jobs(hall: Hall) -> Iterator[Reading]:
    for job, tally in hall.jobs.tallies.items():
        yield Reading("job_runs_total", tally.runs, (job,))
        yield Reading("job_failures_total", tally.failures, (job,))
        if tally.succeeded_at_ms is not None:
            at_s = tally.succeeded_at_ms / 1_000
            yield Reading("job_last_success_timestamp_seconds", at_s, (job,))


# --- the text format ------------------------------------------------------------------------------


def render(readings: Readings) -> bytes:
    """Return readings, and what the system knows of this process, as Prometheus reads them.

    It may run on another thread: the first time it imports what renders, which takes a while.
    """
    from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415
    from prometheus_client.exposition import generate_latest  # noqa: PLC0415

    registry = CollectorRegistry()
    registry.register(_families_of(readings))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def _families_of(readings: Readings) -> "Collector":
    """Return a collector of what was read before."""
    from prometheus_client.registry import Collector  # noqa: PLC0415

    families: dict[str, Family] = {}
    for reading in readings:
        if reading.name not in families:
            families[reading.name] = _make_family(reading.name)
        _add(families[reading.name], reading)

    class Read(Collector):
        def collect(self) -> "Iterable[Family]":
            return families.values()

    return Read()


def _make_family(name: str) -> "Family":
    """Return an empty family of samples for one of :data:`METRICS`."""
    from prometheus_client import metrics_core  # noqa: PLC0415

    metric = METRICS[name]
    kinds = {
        "counter": metrics_core.CounterMetricFamily,
        "gauge": metrics_core.GaugeMetricFamily,
        "histogram": metrics_core.HistogramMetricFamily,
    }
    family: Family = kinds[metric.kind](PREFIX + name, metric.meaning, labels=metric.labels)
    return family


def _add(family: "Family", reading: Reading) -> None:
    """Add a reading to the family of its metric."""
    from prometheus_client import metrics_core  # noqa: PLC0415

    value = reading.value
    if isinstance(family, metrics_core.HistogramMetricFamily):
        assert isinstance(value, Histogram)
        buckets = [(_write_bound(bound), number) for bound, number in value.cumulative()]
        family.add_metric(reading.labels, buckets, value.total)
    else:
        assert isinstance(family, metrics_core.CounterMetricFamily | metrics_core.GaugeMetricFamily)
        assert isinstance(value, int | float)
        family.add_metric(reading.labels, value)


def _write_bound(bound: float) -> str:
    """Return the bound of a range as its label ``le`` writes it."""
    return "+Inf" if bound == float("inf") else str(float(bound))
