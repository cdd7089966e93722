"""What the growth bench fills a hall with, and what it takes for growth."""

from pathlib import Path

import pytest

from bench import fillings, growth
from moothall.core.errors import ConfigurationError
from moothall.testing import open_test_hall

SIZE = 30

COUNTED = {
    "entries": "SELECT count(*) FROM leaderboards_entry",
    "members": "SELECT count(*) FROM identity_member",
    "bindings": "SELECT count(*) FROM access_binding WHERE role = 'board_writer'",
    "events": "SELECT count(*) FROM action_event",
    "sessions": "SELECT count(*) FROM identity_session",
    "audit": "SELECT count(*) FROM access_audit",
    "replies": "SELECT count(*) FROM action_reply",
    "files": "SELECT count(*) FROM files_upload",
}


@pytest.mark.requirement("R54")
@pytest.mark.parametrize("kind", fillings.KINDS)
async def test_every_kind_is_filled_as_the_hall_writes_it_and_every_call_is_answered(
    tmp_path: Path, kind: str
) -> None:
    """A call that writes a table which the bench knows nothing of fails here."""
    await growth.prepare(tmp_path, kind, SIZE)
    async with open_test_hall(tmp_path, limits_scale=growth.LIMITS_SCALE) as hall:
        assert (await hall.rows(COUNTED[kind]))[0][0] >= SIZE
        assert await hall.rows("PRAGMA foreign_key_check") == []
        boss, bob = await hall.sign_in("boss"), await hall.sign_in("bob")
        for name, call in growth.calls_of(hall, boss, bob, SIZE).items():
            if name != "check, first call" or kind in {"members", "bindings", "sessions"}:
                await call()
        await hall.call("access.verify_audit", {}, as_=boss)


async def test_call_that_writes_a_strange_table_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = fillings.FILLINGS["bindings"]
    strange = fillings.Filling(known.make, known.tables, others=frozenset({"access_audit"}))
    monkeypatch.setitem(fillings.FILLINGS, "bindings", strange)
    with pytest.raises(ConfigurationError, match=r"bindings: the call writes .*action_event"):
        await growth.prepare(tmp_path, "bindings", SIZE)


@pytest.mark.parametrize(
    ("name", "small", "large", "ratio", "is_marked"),
    [
        ("check", 100, 290, 1_000, False),
        ("check", 100, 310, 1_000, True),
        ("check", 10, 100, 1_000, False),
        ("check", 1_000, 1_900, 10, True),
        ("start, ms", 300, 450, 1_000, False),
        ("memory, MiB", 50, 57, 1_000, False),
        ("memory, MiB", 50, 60, 1_000, True),
    ],
)
def test_growth_beyond_a_logarithm_and_noise_is_marked(
    name: str,
    small: float,
    large: float,
    ratio: float,
    is_marked: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert growth.is_excessive(name, small, large, ratio) is is_marked
    lines = growth.table_of("rows", {1: {name: small}, int(ratio): {name: large}})
    assert any("<-- grows" in line for line in lines) is is_marked
