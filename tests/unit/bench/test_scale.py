"""What is computed from measured costs."""

import math
from pathlib import Path

import msgspec
import pytest

from bench.costs import PING, READ, WRITE, Calls, Push, Rest, Seen, TailCosts
from bench.scale import (
    BEGIN,
    END,
    MEMBERS_MAX,
    Assumptions,
    as_markdown,
    assume,
    compute,
    find_limits,
    write_page,
)

ASSUMED = Assumptions(
    members=360_000,
    writes_per_member_hour=1.0,
    reads_per_member_hour=10.0,
    followers_per_event=5.0,
    node_share=0.5,
    connections_per_node=MEMBERS_MAX,
    node_memory_gib=1_000.0,
)
TAIL_READS = "each node: reading every event"


def calls(nodes: int, action: str, node_us: float, postgres_us: float) -> Calls:
    return Calls(
        nodes=nodes,
        action=action,
        connections=64,
        calls=1_000,
        calls_per_s=1_000.0,
        p50_ms=1.0,
        p99_ms=2.0,
        node_us=node_us,
        postgres_us=postgres_us,
        nats_us=12.0,
        log_bytes=2_000.0,
        failures=0,
    )


SEEN = Seen(
    date="2026-01-02T03:04:05+00:00",
    cores=2,
    kernel="Linux",
    python="3.11",
    durability="fsync=on",
    calls=[
        calls(1, WRITE, 1_000.0, 500.0),
        calls(3, WRITE, 9_999.0, 9_999.0),
        calls(1, READ, 200.0, 100.0),
        calls(1, PING, 50.0, 0.0),
    ],
    pushes=[Push(1, True, 10, 1.0, 2.0)],  # noqa: FBT003 - a row of a table
    rest=Rest(2_000, 30.0, 10_000.0, 0.5, 5_000.0, 3_000.0),
    tail=TailCosts(1_000, 100.0, 500, 2.0, 40.0),
)


def test_demand_is_the_sum_of_what_each_thing_costs() -> None:
    demand = compute(SEEN, ASSUMED, ASSUMED.members)
    assert (demand.writes_per_s, demand.reads_per_s, demand.deliveries_per_s) == (100, 1_000, 500)
    # Scores without their own tail, ranks, deliveries, connections; in seconds each second.
    spread_s = 100 * 900e-6 + 1_000 * 200e-6 + 500 * 2e-6 + 360_000 * 0.5e-6
    # Half a core, of which every node needs some to read 100 events and to rest.
    left_s = 0.5 - 100 * 100e-6 - 5_000e-6
    assert demand.nodes == math.ceil(spread_s / left_s) == 1
    assert demand.nodes_because == "processor"
    parts = {part.name: part.needed for part in demand.parts}
    assert parts[TAIL_READS] == pytest.approx(0.015)
    assert parts["PostgreSQL: processor"] == pytest.approx(
        100 * 460e-6 + 1_000 * 100e-6 + 1 * (100 * 40e-6 + 3_000e-6)
    )
    assert parts["PostgreSQL: log"] == pytest.approx(0.2)
    assert parts["NATS: processor"] == pytest.approx(100 * 1 * 12e-6 / 3)


def test_nodes_are_as_many_as_the_scarcest_thing_takes() -> None:
    few = msgspec.structs.replace(ASSUMED, connections_per_node=10_000)
    demand = compute(SEEN, few, 360_000)
    assert (demand.nodes, demand.nodes_because) == (36, "connections")
    small = msgspec.structs.replace(ASSUMED, node_memory_gib=0.1)
    assert compute(SEEN, small, 360_000).nodes_because == "memory"


def test_no_number_of_nodes_helps_where_each_must_read_too_many_events() -> None:
    demand = compute(SEEN, ASSUMED, 36_000_000)  # 10,000 events a second, 100 us each
    assert math.isinf(demand.nodes)
    assert "no number suffices" in as_markdown(
        SEEN, msgspec.structs.replace(ASSUMED, members=36_000_000)
    )


def test_a_limit_is_the_last_number_of_members_that_a_part_can_bear() -> None:
    limits = find_limits(SEEN, ASSUMED)
    assert list(limits.values()) == sorted(limits.values())
    places = {part.name: n for n, part in enumerate(compute(SEEN, ASSUMED, 1).parts)}
    for name, members in limits.items():
        shares = [
            compute(SEEN, ASSUMED, members + more).parts[places[name]].share for more in (0, 1)
        ]
        assert shares[0] <= 1 < shares[1]
    # Reading alone: 0.5 s a second, less 5 ms at rest, at 100 us for each event of 3,600 members.
    assert limits[TAIL_READS] == pytest.approx(0.495 / 100e-6 * 3_600, rel=1e-6)


def test_what_is_computed_is_told_with_what_it_was_computed_from() -> None:
    told = as_markdown(SEEN, ASSUMED)
    assert "| a score: node; PostgreSQL | 1,000; 500 µs |" in told
    assert "| followers per event | 5.0 |" in told
    first = next(iter(find_limits(SEEN, ASSUMED)))
    assert f"**What gives way first: {first}**" in told


def test_assumptions_are_changed_by_name() -> None:
    assert assume(["members=5000", "node_share=0.5"]).members == 5_000
    for wrong, reason in (
        ("member=5", "there are members"),
        ("members=many", "there are members"),
        ("members=0", "above 0"),
        ("node_share=nan", "above 0"),
    ):
        with pytest.raises(ValueError, match=reason):
            assume([wrong])


def test_a_page_gets_its_figures_between_its_marks_and_keeps_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")
    for block in ("first", "second"):
        write_page(page, block)
        assert page.read_text("utf-8") == f"before\n{BEGIN}\n{block}\n{END}\nafter\n"
    for text in ("none", f"{END} {BEGIN}", f"{BEGIN} {BEGIN} {END}"):
        page.write_text(text, "utf-8")
        with pytest.raises(ValueError, match=r"page\.md"):
            write_page(page, "block")
        assert page.read_text("utf-8") == text


def test_the_page_of_the_documentation_has_its_marks(tmp_path: Path) -> None:
    source = Path(__file__).parents[3] / "docs/explanation/at-scale.md"
    page = tmp_path / "at-scale.md"
    page.write_text(source.read_text("utf-8"), "utf-8")
    write_page(page, as_markdown(SEEN, ASSUMED))
    assert "What gives way first" in page.read_text("utf-8")
