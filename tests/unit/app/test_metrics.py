"""What a hall tells about itself: every metric, as Prometheus reads it, and nothing of anybody."""

import ast
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from moothall.action.connections import Connections
from moothall.action.hub import FeedHub
from moothall.action.push import Push
from moothall.app.doors import OpenDoors
from moothall.app.metrics import METRICS, PREFIX, Reading, render
from moothall.app.watch import Watch
from moothall.core.histogram import Histogram
from moothall.testing import OpenHall, open_test_hall

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

SOURCES = Path(__file__).resolve().parents[3] / "src" / "moothall"

BOARD = {"board_id": "kart", "name": "Kart", "direction": "descending", "default_level": "write"}


class Listening:
    """Stands for a door's listener; a unit test has no network."""

    connections, refused, handshakes_waiting = 3, 4, 5


class Door:
    name, url, listener = "https", "https://nowhere", Listening()

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


def watch_over(hall: OpenHall) -> Watch:
    watch, connections = Watch(), hall.hall.house.use(Connections)
    watch.opened(hall.hall, OpenDoors((Door(),), connections))
    return watch


async def scrape(watch: Watch) -> tuple[str, Samples]:
    answer = await watch.answer("/metrics")
    assert answer is not None
    assert answer.status == 200
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    text = answer.body.decode()
    samples = {
        (sample.name.removeprefix(PREFIX), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    return text, samples


async def play(hall: OpenHall) -> None:
    """Somebody follows a board on which an entry is verified."""
    admin, ada = await hall.administrator(), await hall.member("ada")
    await hall.call("leaderboards.create_board", BOARD, as_=admin)
    reader = await hall.connect(ada)
    await hall.connect()
    await reader.call("feeds.subscribe", feed="board/kart")
    await reader.until_live("board/kart")
    score = {"board_id": "kart", "score": 7}
    entry = await hall.call("leaderboards.submit_score", score, as_=ada)
    # The first event lets the reader join those who follow live; the second finds it there.
    for deed in ("verify_entry", "unverify_entry"):
        await hall.call(f"leaderboards.{deed}", {"entry_id": entry.entry_id}, as_=admin)
        await reader.next_event()
    await hall.run_job("action.sweep_replies")


def declared_measures() -> dict[str, set[str]]:
    """Return the names that each module's ``measures`` gives."""
    found: dict[str, set[str]] = {}
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name == "measures":
                keys = [
                    key for one in ast.walk(node) if isinstance(one, ast.Dict) for key in one.keys
                ]
                names = {str(ast.literal_eval(key)) for key in keys if key is not None}
                found.setdefault(str(path.relative_to(SOURCES)), set()).update(names)
    return found


def test_what_parts_measure_is_listed() -> None:
    measures = declared_measures()
    assert "log_pages" in measures["storage/sqlite/database.py"]
    for module, names in measures.items():
        assert names <= set(METRICS), f"{module}: a scrape would fail; list it in METRICS"


async def test_a_hall_tells_every_metric(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        watch = watch_over(hall)
        await play(hall)
        text, samples = await scrape(watch)
    told = {
        re.sub(r"_(bucket|count|sum)$", "", name)
        for name, _ in samples
        if not name.startswith("process_")
    }
    measures = declared_measures()
    own = measures.pop(f"storage/{hall.hall.database.engine}/database.py")
    if hall.hall.database.engine == "postgres":
        own |= measures.pop("action/tail.py")
    of_others = set[str]().union(*measures.values()) - own
    assert told == set(METRICS) - of_others
    assert "process_cpu_seconds_total" in text


async def test_numbers_are_those_of_what_happened(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        watch = watch_over(hall)
        await play(hall)
        _, samples = await scrape(watch)

    def one(name: str, **labels: str) -> float:
        return samples[name, tuple(sorted(labels.items()))]

    assert one("open") == 1
    assert one("calls_total", action="leaderboards.submit_score", code="ok") == 1
    assert one("connections", door="https") == 3
    assert one("connections_refused_total", door="https") == 4
    assert one("tls_handshakes_waiting", door="https") == 5
    assert one("clients", door="test") == 2
    assert one("clients_signed_in", door="test") == 1
    assert one("members_connected") == one("sessions_connected") == 1
    assert one("subscriptions") == 1
    assert one("events_delivered_total", way="commit") == 2
    assert one("events_published_total") >= 1
    assert one("feed_lag_seconds_count") == 2
    assert one("job_runs_total", job="action.sweep_replies") == 1
    assert one("job_failures_total", job="action.sweep_replies") == 0
    assert one("job_last_success_timestamp_seconds", job="action.sweep_replies") == (
        hall.clock.now_ms() / 1_000
    )
    assert one("commit_duration_seconds_count") >= 4
    assert one("commit_last_duration_seconds") > 0
    assert one("write_batch_calls_bucket", le="+Inf") >= one("commit_duration_seconds_count")
    assert one("writes_waiting") == one("reads_waiting") == 0


async def test_nothing_tells_who_anybody_is(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        watch = watch_over(hall)
        await play(hall)
        ada = (await hall.rows("SELECT member_id FROM identity_member"))[0][0]
        text, _ = await scrape(watch)
        ready = await watch.answer("/readyz")
    assert ready is not None
    for secret in (ada, "ada", "kart", "192.0.2", "198.51.100", str(tmp_path)):
        assert secret not in text
        assert secret not in ready.body.decode()


async def test_what_was_missed_counts_as_read_from_the_rows(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        watch = watch_over(hall)
        await play(hall)
        bob = await hall.member("bob")
        late = await hall.connect(bob)
        await late.call("feeds.subscribe", feed="board/kart", after=hall.cursor(0))
        await late.next_event()
        _, samples = await scrape(watch)
        assert samples["events_delivered_total", (("way", "rows"),)] >= 1


async def test_the_lag_of_a_feed_is_the_age_of_its_newest_event(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        watch = watch_over(hall)
        now_ms = hall.clock.now_ms()
        for at_ms in (now_ms - 2_000, now_ms + 60_000):  # the second by another node's clock
            hall.hall.house.use(FeedHub).on_delivery(Push("s", 1, 1, "k", at_ms, "{}"))
        _, samples = await scrape(watch)
    assert samples["feed_lag_seconds_count", ()] == 2
    assert samples["feed_lag_seconds_sum", ()] == 2.0


def test_a_metric_that_is_not_listed_is_refused() -> None:
    with pytest.raises(KeyError, match="made_up"):
        render([Reading("made_up", 1)])


def test_ranges_are_written_as_prometheus_reads_them() -> None:
    lag = Histogram((0.001, 1.0))
    for seconds in (0.5, 4.0):
        lag.observe(seconds)
    lines = render([Reading("feed_lag_seconds", lag)]).decode().splitlines()
    name = f"{PREFIX}feed_lag_seconds"
    assert lines[1:7] == [
        f"# TYPE {name} histogram",
        f'{name}_bucket{{le="0.001"}} 0.0',
        f'{name}_bucket{{le="1.0"}} 1.0',
        f'{name}_bucket{{le="+Inf"}} 2.0',
        f"{name}_count 2.0",
        f"{name}_sum 4.5",
    ]


def test_names_say_their_units() -> None:
    plain = {"build_info", "open", "connections", "clients", "clients_signed_in", "subscriptions"}
    plain |= {"sessions_connected", "members_connected", "tls_handshakes_waiting"}
    plain |= {"bus_connected"}
    plain |= {
        "long_reads_running",
        "reads_waiting",
        "writes_waiting",
        "writes_waiting_in_lanes",
    }  # each counts what it is called by
    for name, metric in METRICS.items():
        assert (metric.kind == "counter") == name.endswith("_total")
        assert name in plain or name.endswith(("_total", "_seconds", "_calls", "_events", "_pages"))
