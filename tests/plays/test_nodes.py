"""Three nodes are one hall, whatever happens to one of them or to what they stand on.

Longer: ``python -m tests.plays.cluster --seconds 60``, ``python -m tests.plays.crowd``.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.plays.cluster import FAULTS, RECOVERY_SECONDS_MAX, Cluster, go_through, open_cluster
from tests.plays.crowd import BACK_SECONDS_MAX, restart_under_a_crowd

# They bring PostgreSQL themselves.
pytestmark = [pytest.mark.sqlite, pytest.mark.timeout(300)]

PARTS = {
    1: ("restart_postgres", "kill_node", "cut_bus"),
    2: ("kill_postgres", "cut_database"),
    3: ("stop_nats", "restart_all"),
}
"""Faults by seed: parts, so that they can run at the same time."""


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with open_cluster(tmp_path) as opened:
        yield opened


def test_every_fault_is_in_some_part() -> None:
    assert sorted(FAULTS) == sorted(name for part in PARTS.values() for name in part)


@pytest.mark.requirement("R34")
@pytest.mark.requirement("R36")
@pytest.mark.parametrize("seed", PARTS)
async def test_nothing_acknowledged_is_lost_or_done_twice(cluster: Cluster, seed: int) -> None:
    # Longer than a node goes on without having seen its hall.
    for report in await go_through(cluster, dict.fromkeys(PARTS[seed], 2.5), seed):
        print(f"seed {seed}: {report}")  # noqa: T201
        assert report.recovery_seconds < RECOVERY_SECONDS_MAX


@pytest.mark.requirement("R42")
async def test_who_follows_comes_back_after_a_rolling_restart(cluster: Cluster) -> None:
    report = await restart_under_a_crowd(cluster, 75, 1)
    assert report.breaks >= 75
    assert report.back_seconds < BACK_SECONDS_MAX
