"""What rooms hold of one member: holdings, cursors, the framework's share, and who must say so."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import moothall.action as framework
from moothall import services
from moothall.app.discovery import find_rooms
from moothall.core.errors import DeclarationError
from moothall.core.units import DAY_MS
from moothall.testing import OpenHall, ProblemError, Visitor, open_test_hall
from moothall.testing.hall import PASSWORD
from tests.unit.action.scenes import write_room

SHOP = """
from moothall.action import *

class Buy(Request):
    count: SafeInteger = 1

class Bought(Result):
    count: SafeInteger

@action(access=Signed("sessions:own"), effect=WRITE, limit=PerActor(calls=999, window_ms=9),
        raises=())
async def buy(ctx: Context, request: Buy) -> Bought:
    for _ in range(request.count):
        await ctx.tx.execute(
            "INSERT INTO {room}_order (order_id, member_id, note) VALUES ($1, $2, 'a note')",
            ctx.new_id(), ctx.actor)
    return Bought(count=request.count)
"""
PERSONAL = """
from moothall.action import Context
from moothall.action.personal import Holding, erase_holdings, export_holdings

HOLDINGS = (
    Holding(kind="order", table="{room}_order", owner="member_id", key=("order_id",),
            columns=("order_id", "note AS remark"), fate="{fate}", blanks={blanks}),
)

async def export_rows(ctx, member_id, after, limit):
    return await export_holdings(ctx, HOLDINGS, member_id, after, limit)

async def erase_rows(ctx, member_id):
    return await erase_holdings(ctx, HOLDINGS, member_id)
"""
LEAVE = """
async def leave(ctx, member_id):
    row = await ctx.tx.fetch_one(
        "SELECT count(*) FROM {room}_order WHERE member_id = $1", member_id)
    return "an order is open; cancel it first" if row[0] else None
"""


def write_shop(
    folder: Path, name: str, personal: str = PERSONAL, *, fate: str = "erase", blanks: str = "()"
) -> None:
    pieces = {}
    if personal:
        filled = personal.replace("{room}", name).replace("{fate}", fate)
        pieces["personal"] = filled.replace("{blanks}", blanks)
    room = write_room(folder, name, actions=SHOP.replace("{room}", name), **pieces)
    (room / "migrations").mkdir()
    (room / "migrations" / "0001_order.sql").write_text(
        f"CREATE TABLE {name}_order (order_id TEXT PRIMARY KEY, member_id TEXT, note TEXT);\n"
    )


async def exported(hall: OpenHall, who: Visitor, **fields: Any) -> list[Any]:
    """Return all rows of one's own export, gone through by pages."""
    rows, after = [], ""
    for _ in range(10_000):
        page = await hall.call("identity.export_self", {**fields, "after": after}, as_=who)
        assert len(page.rows) <= fields.get("limit", 100)
        rows += page.rows
        if page.next is None:
            return rows
        assert page.next != after
        after = page.next
    pytest.fail("the export has no end")


async def remove(hall: OpenHall, who: Visitor) -> Any:
    return await hall.call("identity.remove_account", {"password": PASSWORD}, as_=who)


# --- a room of one's own --------------------------------------------------------------------------


@pytest.mark.requirement("R16")
@pytest.mark.parametrize("limit", [1, 2, 3, 500])
async def test_a_room_exports_by_pages_and_each_row_once(tmp_path: Path, limit: int) -> None:
    name = f"shop_a{limit}"
    write_shop(tmp_path, name)
    async with open_test_hall(tmp_path, functions=[tmp_path]) as hall:
        ann, bob = await hall.member("ann"), await hall.member("bob")
        await hall.call(f"{name}.buy", {"count": 5}, as_=ann)
        await hall.call(f"{name}.buy", {"count": 3}, as_=bob)
        rows = await exported(hall, ann, room=name, limit=limit)
        assert [(row.room, row.kind, row.data["remark"]) for row in rows] == (
            [(name, "order", "a note")] * 5
        )
        assert len({row.data["order_id"] for row in rows}) == 5
        everything = await exported(hall, ann, limit=limit)
        assert [row for row in everything if row.room == name] == rows


@pytest.mark.requirement("R16")
async def test_a_room_without_personal_exports_nothing(tmp_path: Path) -> None:
    write_shop(tmp_path, "shop_b", personal="")
    async with open_test_hall(tmp_path, functions=[tmp_path]) as hall:
        ann = await hall.member("ann")
        await hall.call("shop_b.buy", {"count": 1}, as_=ann)
        assert not [row for row in await exported(hall, ann) if row.room == "shop_b"]
        with pytest.raises(ProblemError) as refusal:
            await exported(hall, ann, room="shop_b")
        assert (refusal.value.code, refusal.value.details["field"]) == ("invalid_argument", "room")


@pytest.mark.requirement("R32")
@pytest.mark.parametrize(
    "after",
    ["x", "shop_c x", "shop_c order", "shop_c order {}", "shop_c order []", "nowhere order [1]"],
)
async def test_what_is_no_cursor_is_refused(tmp_path: Path, after: str) -> None:
    write_shop(tmp_path, "shop_c")
    async with open_test_hall(tmp_path, functions=[tmp_path]) as hall:
        ann = await hall.member("ann")
        with pytest.raises(ProblemError) as refusal:
            await hall.call("identity.export_self", {"after": after}, as_=ann)
        assert (refusal.value.code, refusal.value.details["field"]) == ("invalid_argument", "after")


@pytest.mark.requirement("R16")
async def test_rows_are_erased_in_steps_of_500_and_nobody_elses(tmp_path: Path) -> None:
    write_shop(tmp_path, "shop_d")
    async with open_test_hall(tmp_path, functions=[tmp_path]) as hall:
        ann, bob = await hall.member("ann"), await hall.member("bob")
        await hall.call("shop_d.buy", {"count": 1_200}, as_=ann)
        await hall.call("shop_d.buy", {"count": 2}, as_=bob)
        personal = hall.hall.catalog.personal["shop_d"]
        job = hall.hall.jobs._context(hall.hall.catalog.rooms["identity"].jobs[0])
        left = []
        for _ in range(4):
            is_done = await job.write(
                lambda step: personal.erase_rows(step, ann.member_id), outcome=None
            )
            rows = await hall.rows("SELECT member_id FROM shop_d_order")
            left.append((is_done, rows.count((ann.member_id,)), rows.count((bob.member_id,))))
        assert left == [(False, 700, 2), (False, 200, 2), (False, 0, 2), (True, 0, 2)]


@pytest.mark.requirement("R16")
async def test_rows_that_stay_are_blanked(tmp_path: Path) -> None:
    write_shop(tmp_path, "shop_e", fate="keep", blanks='("note",)')
    async with open_test_hall(tmp_path, functions=[tmp_path]) as hall:
        ann = await hall.member("ann")
        await hall.call("shop_e.buy", {"count": 2}, as_=ann)
        assert (await remove(hall, ann)).is_erased
        rows = await hall.rows("SELECT member_id, note FROM shop_e_order")
        assert rows == [(ann.member_id, "")] * 2


@pytest.mark.requirement("R16")
async def test_a_room_may_need_a_member_still(tmp_path: Path) -> None:
    write_shop(tmp_path, "shop_f", PERSONAL + LEAVE)
    async with open_test_hall(tmp_path, functions=[tmp_path]) as hall:
        ann, bob = await hall.member("ann"), await hall.member("bob")
        await hall.call("shop_f.buy", {"count": 1}, as_=ann)
        with pytest.raises(ProblemError) as refusal:
            await remove(hall, ann)
        assert (refusal.value.code, refusal.value.name) == ("failed_precondition", "member_needed")
        assert refusal.value.details["reason"] == "an order is open; cancel it first"
        assert refusal.value.details["room"] == "shop_f"
        assert (await hall.call("identity.get_self", as_=ann)).name == "ann"
        assert (await remove(hall, bob)).is_erased


@pytest.mark.parametrize(
    "text",
    [
        "async def export_rows(ctx, member_id, after, limit): ...",
        "def export_rows(): ...\nasync def erase_rows(ctx, member_id): ...",
        PERSONAL + "\ndef leave(ctx, member_id): ...",
    ],
)
def test_half_a_personal_is_refused(tmp_path: Path, text: str) -> None:
    write_shop(tmp_path, "shop_g", text)
    with pytest.raises(DeclarationError, match=r"room shop_g: personal\.py declares"):
        find_rooms([], [tmp_path])


# --- the framework's own share --------------------------------------------------------------------


@pytest.mark.requirement("R16")
@pytest.mark.requirement("R34")
async def test_remembered_replies_are_exported_without_the_reply_and_forgotten(
    tmp_path: Path,
) -> None:
    write_shop(tmp_path, "shop_h")
    async with open_test_hall(tmp_path, functions=[tmp_path]) as hall:
        for number in range(3):
            ann, bob = await _both(hall, is_new=number == 0)
            await hall.call("shop_h.buy", as_=ann, key=f"key-{number}")
            await hall.call("shop_h.buy", as_=bob, key=f"key-{number}")
            hall.clock.advance(DAY_MS)
        ann, bob = await _both(hall)
        rows = await exported(hall, ann, room="action", limit=1)
        today = hall.clock.now_ms() // DAY_MS
        assert [(row.kind, row.data) for row in rows] == [
            (
                "remembered_reply",
                {"day": today - 3 + number, "action": "shop_h.buy", "key": f"key-{number}"},
            )
            for number in range(3)
        ]
        await remove(hall, ann)
        assert await hall.rows("SELECT DISTINCT actor FROM action_reply") == [(bob.member_id,)]


async def test_replies_of_one_member_are_found_without_reading_all(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        [holding] = importlib.import_module("moothall.action.personal")._HOLDINGS
        for sql in (holding._first, holding._after, holding._erase):
            marks = [1] * len(set(re.findall(r"\$\d", sql)))
            plan = [row[3] for row in await hall.rows(f"EXPLAIN QUERY PLAN {sql}", *marks)]
            assert not [step for step in plan if step.startswith("SCAN action_reply")], plan
            assert [step for step in plan if "(day=? AND actor=?" in step], plan


async def _both(hall: OpenHall, *, is_new: bool = False) -> tuple[Visitor, Visitor]:
    bring = hall.member if is_new else hall.sign_in
    return await bring("ann"), await bring("bob")


# --- built-in rooms say what they hold ------------------------------------------------------------

MEMBER_COLUMN = re.compile(r"^  (?P<name>\w*(?:member_id|actor|subject|submitter|owner|_by))\b")
TABLE = re.compile(r"CREATE TABLE (?:IF NOT EXISTS )?(?P<name>\w+) \((?P<body>.*?)\n\)", re.DOTALL)
ADDED = re.compile(r"ALTER TABLE (?P<table>\w+)\s+ADD COLUMN (?P<name>\w+)")

HELD_OTHERWISE = {
    ("access_audit", "actor"): "exported by pages of the trail (kind deed); sealed, so it stays",
}


def columns_with_members(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield table and column of whatever holds a member's id, as the migrations say."""
    for file in sorted(folder.glob("*.sql")):
        text = file.read_text(encoding="utf-8")
        for table in TABLE.finditer(text):
            for line in table["body"].splitlines():
                if found := MEMBER_COLUMN.match(line):
                    yield table["name"], found["name"]
        for added in ADDED.finditer(text):
            if MEMBER_COLUMN.match(f"  {added['name']} "):
                yield added["table"], added["name"]


def holdings_of(module: str) -> set[tuple[str, str]]:
    held = importlib.import_module(module)._HOLDINGS
    return {(holding.table, holding.owner) for holding in held}


def built_in() -> Iterator[Any]:
    for folder in sorted(Path(next(iter(services.__path__))).glob("*/migrations")):
        room = folder.parent.name
        yield pytest.param(folder, f"{services.__name__}.{room}.personal", id=room)
    schema = Path(next(iter(framework.__path__))) / "schema"
    yield pytest.param(schema, f"{framework.__name__}.personal", id="action")


@pytest.mark.requirement("R16")
@pytest.mark.parametrize(("folder", "module"), list(built_in()))
def test_whatever_has_a_members_id_is_held(folder: Path, module: str) -> None:
    columns = set(columns_with_members(folder))
    assert columns, f"no column of {folder} was recognised"
    missing = columns - holdings_of(module) - HELD_OTHERWISE.keys()
    assert not missing, f"{module} says nothing of {sorted(missing)}"


@pytest.mark.requirement("R16")
@pytest.mark.parametrize("module", [param.values[1] for param in built_in()])
async def test_holdings_know_their_tables(tmp_path: Path, module: str) -> None:
    async with open_test_hall(tmp_path) as hall:
        for holding in importlib.import_module(module)._HOLDINGS:
            for sql in filter(None, (holding._first, holding._after, holding._erase)):
                marks = [1] * len(set(re.findall(r"\$\d", sql)))
                assert await hall.rows(f"EXPLAIN QUERY PLAN {sql}", *marks)


@pytest.mark.requirement("R16")
@pytest.mark.parametrize(("folder", "module"), list(built_in()))
def test_no_secret_is_exported(folder: Path, module: str) -> None:
    held = importlib.import_module(module)._HOLDINGS
    secret = re.compile(r"hash|digest|nonce|selector|token|secret|sealed|series")
    assert [
        (holding.table, column)
        for holding in held
        for column in holding.columns
        if secret.search(column)
    ] == []


def test_the_search_for_columns_finds_them(tmp_path: Path) -> None:
    (tmp_path / "0001_x.sql").write_text(
        "CREATE TABLE x_a (\n  member_id TEXT,\n  note TEXT,\n  made_by TEXT\n);\n"
        "ALTER TABLE x_a ADD COLUMN submitter TEXT;\n"
    )
    assert list(columns_with_members(tmp_path)) == [
        ("x_a", "member_id"),
        ("x_a", "made_by"),
        ("x_a", "submitter"),
    ]
