"""``Deadline-Ms``: how long a client gives its call."""

from pathlib import Path

import pytest

from tests.conformance.http_wire import (
    ask_both_ways,
    connect,
    get,
    make_tls,
    on_both_loops,
    open_door,
    post,
)

pytestmark = pytest.mark.requirement("R32")


@pytest.mark.parametrize(("value", "deadline_ms"), [("1", 1), ("2500", 2_500), ("600000", 600_000)])
@on_both_loops
async def test_a_deadline_reaches_the_pipeline(
    tmp_path: Path, value: str, deadline_ms: int
) -> None:
    tls = make_tls(tmp_path)
    async with open_door(context=tls.server) as door:
        answer = await ask_both_ways(door, tls, post("hall.ping", b"{}", f"Deadline-Ms: {value}"))
        assert (answer.status, answer.json["deadline_ms"]) == (200, deadline_ms)


@pytest.mark.parametrize(
    "value", ["0", "600001", "-1", "+1", "1.5", "1e3", "", "1 000", "1,2", "\xb2", "9" * 5_000]
)
@on_both_loops
async def test_what_is_no_deadline_is_refused(tmp_path: Path, value: str) -> None:
    tls = make_tls(tmp_path)
    async with open_door(context=tls.server) as door:
        answer = await ask_both_ways(door, tls, post("hall.ping", b"{}", f"Deadline-Ms: {value}"))
        assert (answer.status, answer.field) == (400, "Deadline-Ms")


@on_both_loops
async def test_two_deadlines_are_refused() -> None:
    async with open_door() as door, connect(door) as wire:
        answer = await wire.ask(post("hall.ping", b"{}", "Deadline-Ms: 1", "Deadline-Ms: 1"))
        assert (answer.status, answer.field) == (400, "Deadline-Ms")


@on_both_loops
async def test_a_document_has_no_deadline() -> None:
    async with open_door() as door, connect(door) as wire:
        assert (await wire.ask(get("/healthz", "Deadline-Ms: soon"))).status == 200
