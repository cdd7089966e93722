"""The audit trail: what stands in it, how it is sealed, and that every alteration is named."""

import asyncio
import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from moothall.ports.audit import AuditRow
from moothall.services.access.errors import AuditBrokenError
from moothall.services.access.model import AuditEntry
from moothall.services.access.rules.chain import TrailKeys, first_link, make_seal
from moothall.services.access.store.audit import insert_audit, insert_seal, list_seals
from moothall.testing import NearIssuer, OpenHall, ProblemError, Visitor, open_test_hall

COLUMNS = ("at_ms", "actor", "action", "path", "outcome", "source", "request_id")
SEAL_COLUMNS = ("last_number", "row_count", "latest_at_ms", "sealed_at_ms", "chain", "tags", "mac")


async def seal(hall: OpenHall) -> None:
    await hall.run_job("access.seal_audit")


async def settle(hall: OpenHall) -> int:
    """Let the hall seal what there is and sign a head; return the last row of it."""
    await seal(hall)
    await hall.run_job("access.publish_head")
    return await last_sealed(hall)


async def last_sealed(hall: OpenHall) -> int:
    return int((await hall.rows("SELECT max(last_number) FROM access_seal"))[0][0] or 0)


async def rows_of(hall: OpenHall) -> list[int]:
    """Return the numbers of all rows; on PostgreSQL events and notices take numbers between."""
    found = await hall.rows("SELECT number FROM access_audit ORDER BY number")
    return [number for (number,) in found]


async def verify(hall: OpenHall, who: Visitor, **request: Any) -> Any:
    return await hall.call("access.verify_audit", request, as_=who)


async def finding(hall: OpenHall, who: Visitor) -> tuple[str, int]:
    """Return what is wrong with the trail, and from which row on."""
    with pytest.raises(ProblemError) as refusal:
        await verify(hall, who)
    assert (refusal.value.code, refusal.value.name) == ("failed_precondition", "audit_broken")
    assert refusal.value.details["reason"]
    return str(refusal.value.details["fault"]), int(str(refusal.value.details["number"]))


async def tamper(hall: OpenHall, *statements: str) -> None:
    """Do what somebody does who can write to the database, but has no key."""
    for sql in statements:
        await hall.hall.database.write(lambda tx, sql=sql: tx.execute(sql))  # type: ignore[misc]


async def act(hall: OpenHall, who: Visitor, times: int) -> None:
    """Leave rows in the trail."""
    for _ in range(times):
        request = {"member": who.name, "role": "auditor", "at": "board/7"}
        await hall.call("access.grant_role", request, as_=who)


async def fill(hall: OpenHall, count: int) -> None:
    """Leave many rows in the trail, a second after each other."""

    async def work(tx: Any, begin: int) -> None:
        for at in range(begin, min(begin + 1_000, count)):
            now_ms = hall.clock.now_ms() + 1_000 * at
            row = AuditRow(now_ms, "bob", "shop.buy", f"shop/{at}", "done", "192.0.2.9", "r")
            await insert_audit(tx, row)

    for begin in range(0, count, 1_000):  # a transaction may take 20 s on PostgreSQL
        await hall.hall.database.write(partial(work, begin=begin))


def heads_file(folder: Path) -> Path:
    return folder / "hall" / "audit-heads.jsonl"


@pytest.fixture
async def auditor(hall: OpenHall, boss: Visitor) -> Visitor:
    """Somebody who may verify a trail of three seals and two heads."""
    ann = await hall.member("ann")
    request = {"member": "ann", "role": "auditor"}
    await hall.call("access.grant_role", request, as_=boss)
    await settle(hall)
    await act(hall, boss, 4)
    await settle(hall)
    await act(hall, boss, 3)
    await seal(hall)
    return ann


# --- sealing --------------------------------------------------------------------------------------


@pytest.mark.requirement("R24")
async def test_untouched_trail_is_whole(hall: OpenHall, boss: Visitor) -> None:
    await act(hall, boss, 5)
    rows = await rows_of(hall)
    assert await settle(hall) == rows[-1]
    report = await verify(hall, boss)
    assert report.rows_checked == len(rows) >= 5
    assert report.numbers_skipped == report.last_sealed_number - len(rows)
    assert (report.unsealed_rows, report.heads_checked) == (0, 1)
    assert report.last_head_number == report.last_sealed_number
    assert report.next is None


@pytest.mark.requirement("R24")
async def test_rows_that_wait_for_their_seal_are_told(hall: OpenHall, boss: Visitor) -> None:
    before = await settle(hall)
    await act(hall, boss, 3)
    report = await verify(hall, boss)
    assert (report.last_sealed_number, report.unsealed_rows) == (before, 3)


async def test_an_empty_trail_is_whole(hall: OpenHall, boss: Visitor) -> None:
    report = await verify(hall, boss)
    assert (report.rows_checked, report.last_sealed_number, report.heads_checked) == (0, 0, 0)
    assert report.unsealed_rows > 0


async def test_an_idle_hall_writes_nothing(hall: OpenHall, boss: Visitor, tmp_path: Path) -> None:
    await settle(hall)
    queries = (
        "SELECT * FROM access_audit",
        "SELECT * FROM access_seal",
        "SELECT * FROM access_head",
    )
    before = [await hall.rows(query) for query in queries]
    lines = heads_file(tmp_path).read_text()
    for _ in range(3):
        hall.clock.advance(60_000)
        await settle(hall)
    assert [await hall.rows(query) for query in queries] == before
    assert heads_file(tmp_path).read_text() == lines


async def test_a_seal_holds_250_rows_at_most(hall: OpenHall, boss: Visitor) -> None:
    await seal(hall)
    before = await last_sealed(hall)
    await fill(hall, 700)
    rows = await rows_of(hall)
    await settle(hall)
    counts = await hall.rows(
        "SELECT row_count, after_number, last_number FROM access_seal WHERE after_number >= $1 "
        "ORDER BY after_number",
        before,
    )
    ends = [before, rows[-451], rows[-201], rows[-1]]
    assert counts == [
        (250, ends[0], ends[1]),
        (250, ends[1], ends[2]),
        (200, ends[2], ends[3]),
    ]
    report = await verify(hall, boss)
    assert (report.rows_checked, report.next) == (len(rows), None)


@pytest.mark.requirement("R24")
async def test_two_sealers_at_once_make_one_chain(hall: OpenHall, boss: Visitor) -> None:
    await fill(hall, 1_200)
    await asyncio.gather(*(seal(hall) for _ in range(4)))
    await seal(hall)
    rows = await rows_of(hall)
    report = await verify(hall, boss)
    assert report.unsealed_rows == 0
    assert report.rows_checked == len(rows) > 1_200


@pytest.mark.requirement("R24")
async def test_of_two_seals_after_the_same_row_the_first_stands(hall: OpenHall) -> None:
    keys = TrailKeys(b"c" * 32, b"s" * 32)
    rows = [
        AuditEntry(
            number=number,
            at_ms=1,
            actor="bob",
            action="shop.buy",
            path="",
            outcome="done",
            source="",
            request_id="r",
        )
        for number in (1, 2)
    ]
    one, other = [make_seal(keys, first_link(keys), rows[:count], count) for count in (1, 2)]
    database = hall.hall.database
    assert await database.write(lambda tx: insert_seal(tx, one))
    assert not await database.write(lambda tx: insert_seal(tx, other))
    assert await database.read(lambda tx: list_seals(tx, 0, 9)) == [one]


@pytest.mark.requirement("R24")
async def test_a_sealer_that_is_cut_off_is_followed_by_one_that_goes_on(
    hall: OpenHall, boss: Visitor
) -> None:
    await fill(hall, 3_000)
    loop = asyncio.get_running_loop()
    cut = 0
    while await last_sealed(hall) < 3_000:
        task = loop.create_task(seal(hall))
        for _ in range(5 + 3 * cut):
            await asyncio.sleep(0)
        cut += task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert cut > 1
    await seal(hall)
    assert (await verify(hall, boss)).unsealed_rows == 0


async def test_the_trail_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        boss = await hall.administrator("boss")
        await settle(hall)
        clock = hall.clock
    async with open_test_hall(tmp_path, clock=clock) as hall:
        await act(hall, boss, 2)
        await settle(hall)
        report = await verify(hall, boss)
        assert (report.heads_checked, report.unsealed_rows) == (2, 0)


@pytest.mark.requirement("R24")
async def test_a_hall_that_closes_leaves_a_head_over_everything(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        boss, clock = await hall.administrator("boss"), hall.clock
        ((last,),) = await hall.rows("SELECT max(number) FROM access_audit")
    async with open_test_hall(tmp_path, clock=clock) as hall:
        assert (await verify(hall, boss)).last_head_number == last
    heads_file(tmp_path).unlink()
    heads_file(tmp_path).mkdir()
    with capture_logs() as logs:
        async with open_test_hall(tmp_path, clock=clock) as hall:
            await act(hall, boss, 1)
    assert "without a last head" in logs[-1]["event"], "and yet it closes"


async def test_verifying_may_be_done_in_pages(hall: OpenHall, auditor: Visitor) -> None:
    await fill(hall, 1_000)
    await settle(hall)
    rows = heads = pages = 0
    after: Any = (0, 0, 0, 0)
    while after is not None:
        report = await verify(hall, auditor, limit=1, after=after)
        rows, heads, pages = rows + report.rows_checked, heads + report.heads_checked, pages + 1
        after = report.next
    last = await last_sealed(hall)
    assert (rows, heads) == (len([row for row in await rows_of(hall) if row <= last]), 3)
    assert pages >= 4
    with pytest.raises(ProblemError) as refusal:
        await verify(hall, auditor, after=(2, 0, 0, 0))
    assert (refusal.value.code, refusal.value.details["field"]) == ("invalid_argument", "after")


# --- what is done to rows -------------------------------------------------------------------------


@pytest.mark.requirement("R24")
async def test_each_altered_column_of_each_row_is_named(hall: OpenHall, auditor: Visitor) -> None:
    last = await last_sealed(hall)
    rows = [number for number in await rows_of(hall) if number <= last]
    for number in rows:
        for column in COLUMNS:
            ((old,),) = await hall.rows(
                f"SELECT {column} FROM access_audit WHERE number = {number}"
            )
            new = old + 1 if isinstance(old, int) else old + "x"
            await set_column(hall, number, column, new)
            assert await finding(hall, auditor) == ("altered", number), column
            await set_column(hall, number, column, old)
    assert (await verify(hall, auditor)).rows_checked == len(rows)


async def set_column(hall: OpenHall, number: int, column: str, value: object) -> None:
    sql = f"UPDATE access_audit SET {column} = $1 WHERE number = $2"
    await hall.hall.database.write(lambda tx: tx.execute(sql, value, number))


@pytest.mark.sqlite  # a column of PostgreSQL holds nothing but its type
@pytest.mark.requirement("R24")
@pytest.mark.parametrize(
    "value", ["x'ff41'", "CAST(x'ff41' AS TEXT)", "CAST(actor AS BLOB)", "7.5"]
)
async def test_what_is_no_text_is_an_alteration_too(
    hall: OpenHall, auditor: Visitor, value: str
) -> None:
    await tamper(hall, f"UPDATE access_audit SET actor = {value} WHERE number = 5")
    assert await finding(hall, auditor) == ("altered", 5)


@pytest.mark.requirement("R24")
@pytest.mark.parametrize(
    "removed", [[0], [4], [3, 4, 8], slice(6, None), [-1], slice(0, None)], ids=str
)
async def test_the_first_removed_row_is_named(
    hall: OpenHall, auditor: Visitor, removed: list[int] | slice
) -> None:
    last = await last_sealed(hall)
    rows = [number for number in await rows_of(hall) if number <= last]
    gone = rows[removed] if isinstance(removed, slice) else [rows[at] for at in removed]
    for number in gone:
        await tamper(hall, f"DELETE FROM access_audit WHERE number = {number}")
    assert await finding(hall, auditor) == ("missing", gone[0])


@pytest.mark.requirement("R24")
@pytest.mark.parametrize("number", [0, -3, -(2**63)])
async def test_a_row_before_the_first_is_named(
    hall: OpenHall, auditor: Visitor, number: int
) -> None:
    await copy_row(hall, (await rows_of(hall))[2], number)
    assert await finding(hall, auditor) == ("inserted", number)


@pytest.mark.requirement("R24")
async def test_a_row_that_was_inserted_where_a_number_was_free_is_named(
    hall: OpenHall, auditor: Visitor, boss: Visitor
) -> None:
    before = await verify(hall, auditor)
    await seal(hall)
    last = await last_sealed(hall)
    await tamper(hall, SKIP_FIVE[hall.hall.database.engine])
    await act(hall, boss, 2)
    await seal(hall)
    assert (await verify(hall, auditor)).numbers_skipped >= before.numbers_skipped + 5
    await copy_row(hall, (await rows_of(hall))[2], last + 2)
    assert await finding(hall, auditor) == ("inserted", last + 2)


SKIP_FIVE = {
    "sqlite": "UPDATE sqlite_sequence SET seq = seq + 5 WHERE name = 'access_audit'",
    "postgres": "SELECT setval('action_number', (SELECT last_value + 5 FROM action_number))",
}
"""Numbers that are lost, as by a call that was undone."""


async def copy_row(hall: OpenHall, number: int, new_number: int) -> None:
    columns = ", ".join(COLUMNS)
    await tamper(
        hall,
        f"INSERT INTO access_audit (number, {columns}) "
        f"SELECT {new_number}, {columns} FROM access_audit WHERE number = {number}",
    )


@pytest.mark.requirement("R24")
async def test_swapped_rows_are_named(hall: OpenHall, auditor: Visitor) -> None:
    rows = await rows_of(hall)
    one, other = rows[3], rows[7]
    await tamper(
        hall,
        f"UPDATE access_audit SET number = -1 WHERE number = {one}",
        f"UPDATE access_audit SET number = {one} WHERE number = {other}",
        f"UPDATE access_audit SET number = {other} WHERE number = -1",
    )
    assert await finding(hall, auditor) == ("altered", one)


# --- what is done to seals ------------------------------------------------------------------------


@pytest.mark.requirement("R24")
@pytest.mark.parametrize("column", SEAL_COLUMNS)
async def test_each_altered_column_of_a_seal_is_named(
    hall: OpenHall, auditor: Visitor, column: str
) -> None:
    ((first, old),) = await hall.rows(
        f"SELECT after_number, {column} FROM access_seal ORDER BY after_number LIMIT 1 OFFSET 1"
    )
    for new in [b"", b"\0", old[:-1], old + b"x"] if isinstance(old, bytes) else [0, old + 1, -1]:
        await set_seal_column(hall, first, column, new)
        assert await finding(hall, auditor) == ("seal_altered", first + 1), new
    await set_seal_column(hall, first, column, old)
    await verify(hall, auditor)


async def set_seal_column(hall: OpenHall, first: int, column: str, value: object) -> None:
    sql = f"UPDATE access_seal SET {column} = $1 WHERE after_number = $2"
    await hall.hall.database.write(lambda tx: tx.execute(sql, value, first))


@pytest.mark.sqlite  # a column of PostgreSQL holds nothing but its type
@pytest.mark.requirement("R24")
@pytest.mark.parametrize("column", SEAL_COLUMNS)
@pytest.mark.parametrize("value", ["7", "x'00'", "'text'", "1.5"])
async def test_a_column_of_a_seal_that_is_of_another_type_is_named(
    hall: OpenHall, auditor: Visitor, column: str, value: str
) -> None:
    ((first,),) = await hall.rows("SELECT min(last_number) FROM access_seal")
    await tamper(hall, f"UPDATE access_seal SET {column} = {value} WHERE after_number = {first}")
    assert await finding(hall, auditor) == ("seal_altered", first + 1)


@pytest.mark.requirement("R24")
async def test_a_removed_or_moved_seal_is_named(hall: OpenHall, auditor: Visitor) -> None:
    ((first,),) = await hall.rows("SELECT min(last_number) FROM access_seal")
    await tamper(hall, f"UPDATE access_seal SET after_number = 1 WHERE after_number = {first}")
    assert await finding(hall, auditor) == ("seal_altered", first + 1)
    await tamper(hall, "DELETE FROM access_seal WHERE after_number = 1")
    assert await finding(hall, auditor) == ("seal_missing", first + 1)


@pytest.mark.requirement("R24")
async def test_removed_last_seals_are_noticed_by_the_head(hall: OpenHall, auditor: Visitor) -> None:
    ((first,),) = await hall.rows("SELECT min(last_number) FROM access_seal")
    await tamper(hall, f"DELETE FROM access_seal WHERE after_number >= {first}")
    assert await finding(hall, auditor) == ("seal_missing", first + 1)
    await seal(hall)
    report = await verify(hall, auditor)
    assert report.heads_checked == 2, "sealed anew, the same rows are whole again"


@pytest.mark.requirement("R24")
async def test_who_removes_seals_to_alter_rows_below_is_noticed_by_the_head(
    hall: OpenHall, auditor: Visitor
) -> None:
    ((first,),) = await hall.rows("SELECT min(last_number) FROM access_seal")
    altered = [number for number in await rows_of(hall) if number > first][1]
    await tamper(
        hall,
        f"DELETE FROM access_seal WHERE after_number >= {first}",
        f"UPDATE access_audit SET actor = 'somebody else' WHERE number = {altered}",
    )
    await seal(hall)
    with pytest.raises(ProblemError) as refusal:
        await verify(hall, auditor)
    details = refusal.value.details
    assert (details["fault"], details["number"]) == ("altered", first + 1)
    assert int(str(details["until_number"])) >= altered


@pytest.mark.requirement("R24")
async def test_cut_off_rows_and_seals_are_noticed_by_the_head(
    hall: OpenHall, auditor: Visitor
) -> None:
    ((first,),) = await hall.rows("SELECT min(last_number) FROM access_seal")
    await tamper(
        hall,
        f"DELETE FROM access_seal WHERE after_number >= {first}",
        f"DELETE FROM access_audit WHERE number > {first}",
    )
    assert await finding(hall, auditor) == ("truncated", first + 1)


@pytest.mark.sqlite  # it copies the file
@pytest.mark.requirement("R24")
async def test_an_older_copy_of_the_database_is_noticed_by_the_head(tmp_path: Path) -> None:
    database, copy = tmp_path / "hall" / "hall.sqlite", tmp_path / "older.sqlite"
    async with open_test_hall(tmp_path) as hall:
        boss, clock = await hall.administrator("boss"), hall.clock
        last = await settle(hall)
    shutil.copy(database, copy)
    async with open_test_hall(tmp_path, clock=clock) as hall:
        await act(hall, boss, 5)
        await settle(hall)
    shutil.copy(copy, database)
    async with open_test_hall(tmp_path, clock=clock) as hall:
        assert await finding(hall, boss) == ("truncated", last + 1)
        await act(hall, boss, 9)
        await settle(hall)
        assert await finding(hall, boss) == ("altered", last + 1)


@pytest.mark.sqlite  # it copies the file
async def test_an_operator_can_say_that_they_restored_a_backup(tmp_path: Path) -> None:
    database, copy = tmp_path / "hall" / "hall.sqlite", tmp_path / "older.sqlite"
    async with open_test_hall(tmp_path) as hall:
        boss, clock = await hall.administrator("boss"), hall.clock
        for _ in range(3):
            await act(hall, boss, 1)
            await settle(hall)
    shutil.copy(database, copy)
    async with open_test_hall(tmp_path, clock=clock) as hall:
        for _ in range(3):
            await act(hall, boss, 1)
            await settle(hall)
    # As docs/explanation/audit.md says.
    shutil.copy(copy, database)
    old = heads_file(tmp_path).read_text().splitlines()
    heads_file(tmp_path).unlink()
    async with open_test_hall(tmp_path, clock=clock) as hall:
        await act(hall, boss, 1)
    new = heads_file(tmp_path).read_text().splitlines()
    write_lines(tmp_path, old[: json.loads(new[0])["head"] - 1] + new)
    async with open_test_hall(tmp_path, clock=clock) as hall:
        assert (await verify(hall, boss)).heads_checked == 4


# --- heads ----------------------------------------------------------------------------------------


@pytest.mark.requirement("R24")
async def test_heads_are_lines_that_anybody_with_the_public_key_can_check(
    hall: OpenHall, auditor: Visitor, tmp_path: Path
) -> None:
    shown = await hall.call("access.get_audit_head", as_=auditor)
    lines = [json.loads(line) for line in heads_file(tmp_path).read_text().splitlines()]
    assert [line["head"] for line in lines] == [1, 2]
    assert {line["public_key"] for line in lines} == {shown.public_key}
    assert (shown.head_count, shown.head_number) == (2, lines[-1]["number"])
    assert shown.sealed_number == await last_sealed(hall) > shown.head_number
    assert heads_file(tmp_path).stat().st_mode & 0o777 == 0o600


@pytest.mark.requirement("R24")
async def test_heads_name_the_server_that_signed_them(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path / "home", rooms=("hall",)) as home:
        near = NearIssuer(home, "https://boards.test")
        boss = await home.administrator("boss")
        key = {"audience": near.audience, "server_key": near.server_key}
        await home.call("identity.add_audience", key, as_=boss)
        folder = tmp_path / "boards"
        async with open_test_hall(folder, follows=near, clock=home.clock, rooms=("hall",)) as hall:
            await fill(hall, 1)
            await settle(hall)
        await settle(home)
        for place, name in ((folder, near.audience), (tmp_path / "home", home.hall.issuer)):
            (line,) = heads_file(place).read_text().splitlines()
            assert json.loads(line)["hall"] == name


@pytest.mark.requirement("R24")
@pytest.mark.parametrize(
    ("field", "value"), [("number", 999), ("chain", "00" * 32), ("signature", "00" * 64)]
)
async def test_a_forged_head_is_named(
    hall: OpenHall, auditor: Visitor, tmp_path: Path, field: str, value: object
) -> None:
    lines = [json.loads(line) for line in heads_file(tmp_path).read_text().splitlines()]
    lines[1][field] = value
    write_lines(tmp_path, [json.dumps(line) for line in lines])
    assert await finding(hall, auditor) == ("head_forged", lines[0]["number"] + 1)


@pytest.mark.requirement("R24")
async def test_missing_heads_are_named(hall: OpenHall, auditor: Visitor, tmp_path: Path) -> None:
    first, second = heads_file(tmp_path).read_text().splitlines()
    write_lines(tmp_path, [second])
    assert await finding(hall, auditor) == ("head_missing", 1)
    write_lines(tmp_path, [first])
    assert await finding(hall, auditor) == ("head_missing", json.loads(first)["number"] + 1)
    write_lines(tmp_path, [first, second, second])
    assert (await finding(hall, auditor))[0] == "head_forged"
    heads_file(tmp_path).unlink()
    assert await finding(hall, auditor) == ("head_missing", 1)


def write_lines(folder: Path, lines: Sequence[str]) -> None:
    heads_file(folder).write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.requirement("R24")
async def test_a_line_that_a_power_cut_tore_is_no_alarm(
    hall: OpenHall, auditor: Visitor, tmp_path: Path
) -> None:
    torn = heads_file(tmp_path).read_text().splitlines()[-1][:40]
    with heads_file(tmp_path).open("a") as file:
        file.write(torn)
    await settle(hall)
    assert (await verify(hall, auditor)).heads_checked == 3


async def test_a_head_that_was_written_but_not_counted_is_no_alarm(
    hall: OpenHall, auditor: Visitor
) -> None:
    await tamper(hall, "UPDATE access_head SET head_count = 1, number = 1")
    await settle(hall)
    report = await verify(hall, auditor)
    assert report.heads_checked == 3
    assert (await hall.call("access.get_audit_head", as_=auditor)).head_count == 3


async def test_no_head_is_signed_over_a_seal_that_is_not_the_halls(
    hall: OpenHall, auditor: Visitor, tmp_path: Path
) -> None:
    before = heads_file(tmp_path).read_text()
    last = await last_sealed(hall)
    sql = "UPDATE access_seal SET chain = $1 WHERE last_number = $2"
    await hall.hall.database.write(lambda tx: tx.execute(sql, b"\0", last))
    with pytest.raises(AuditBrokenError):
        await hall.run_job("access.publish_head")
    assert heads_file(tmp_path).read_text() == before


async def test_heads_are_kept_where_the_setting_says(tmp_path: Path) -> None:
    elsewhere = tmp_path / "other disk" / "heads"
    elsewhere.parent.mkdir()
    tables = {"audit": {"heads": str(elsewhere)}}
    async with open_test_hall(tmp_path, tables=tables) as hall:
        boss = await hall.administrator("boss")
        await settle(hall)
        assert (await verify(hall, boss)).heads_checked == 1
    assert len(elsewhere.read_text().splitlines()) == 2, "the second one at the end"
    assert not heads_file(tmp_path).exists()


# --- what stands in it ----------------------------------------------------------------------------


async def listed(hall: OpenHall, who: Visitor, **request: Any) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    after: int | None = 0
    while after is not None:
        page = await hall.call("access.list_audit", {**request, "after": after}, as_=who)
        entries += page.entries
        after = page.next
    return entries


@pytest.mark.requirement("R24")
async def test_a_row_says_who_what_when_where_and_the_outcome(
    hall: OpenHall, boss: Visitor
) -> None:
    hall.clock.advance(5_000)
    request = {"member": "boss", "role": "auditor", "at": "board/7"}
    await hall.call("access.grant_role", request, as_=boss, source="203.0.113.5")
    (entry,) = await listed(hall, boss, action="access.grant_role")
    assert (entry.actor, entry.at_ms) == (boss.member_id, hall.clock.now_ms())
    assert (entry.path, entry.source, entry.outcome) == ("board/7", "203.0.113.5", "done")
    assert entry.request_id


@pytest.mark.requirement("R24")
async def test_refusals_and_failed_sign_ins_are_rows(hall: OpenHall, boss: Visitor) -> None:
    eve = await hall.member("eve")
    for action in ("access.list_audit", "access.verify_audit", "access.get_audit_head"):
        with pytest.raises(ProblemError) as refusal:
            await hall.call(action, as_=eve)
        assert refusal.value.code == "permission_denied"
        entries = await listed(hall, boss, actor="eve", action=action)
        assert [entry.outcome for entry in entries] == ["permission_denied"]
    await hall.answer("identity.open_session", {"name": "eve", "password": "wrong"})
    entries = await listed(hall, boss, action="identity.open_session")
    assert {entry.outcome for entry in entries} > {"done"}


@pytest.mark.requirement("R24")
async def test_reading_the_trail_is_in_the_trail(hall: OpenHall, boss: Visitor) -> None:
    await hall.call("access.list_audit", as_=boss)
    await verify(hall, boss)
    entries = await listed(hall, boss, actor="boss")
    assert [entry.action for entry in entries][-2:] == ["access.list_audit", "access.verify_audit"]


@pytest.mark.requirement("R24")
@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ({"actor": "bob"}, [1, 2, 5]),
        ({"actor": "ann"}, [3, 4]),
        ({"actor": "room:shop"}, []),
        ({"action": "shop.sell"}, [2, 4]),
        ({"at": "org/1"}, [1, 2]),
        ({"at": "org/1/a"}, [2]),
        ({"at": ""}, [1, 2, 3, 4, 5]),
        ({"outcome": "sold_out"}, [5]),
        ({"since_ms": 2_000}, [2, 3, 4, 5]),
        ({"until_ms": 3_000}, [1, 2]),
        ({"since_ms": 2_000, "until_ms": 4_000}, [2, 3]),
        ({"since_ms": 4_000}, [4, 5]),
        ({"since_ms": 9_000}, []),
        ({"actor": "bob", "action": "shop.sell"}, [2]),
    ],
)
@pytest.mark.parametrize("is_sealed", [True, False])
async def test_rows_are_found_by_what_they_say(
    tmp_path: Path, wanted: dict[str, Any], numbers: list[int], *, is_sealed: bool
) -> None:
    rows = [
        AuditRow(1_000, "bob", "shop.buy", "org/1", "done", "", "r"),
        AuditRow(2_000, "bob", "shop.sell", "org/1/a", "done", "", "r"),
        AuditRow(3_000, "room:shop for ann", "shop.buy", "org/10", "done", "", "r"),
        AuditRow(4_000, "ann", "shop.sell", "", "done", "", "r"),
        AuditRow(5_000, "bob", "shop.buy", "org", "sold_out", "", "r"),
    ]
    async with open_test_hall(tmp_path) as hall:
        for row in rows:
            await hall.hall.database.write(lambda tx, row=row: insert_audit(tx, row))  # type: ignore[misc]
            if is_sealed:
                await seal(hall)
        boss = await hall.administrator("boss")
        for limit in (1, 2, 500):
            found = await listed(hall, boss, limit=limit, **{"until_ms": 9_999, **wanted})
            assert [entry.at_ms // 1_000 for entry in found] == numbers


@pytest.mark.requirement("R24")
async def test_no_row_is_lost_where_the_clock_was_set_back(hall: OpenHall, boss: Visitor) -> None:
    begin = hall.clock.now_ms()
    for at_ms in (0, 10_000_000, 5_000, 6_000, 20_000_000):
        hall.clock.set_wall(begin + at_ms)
        row = AuditRow(begin + at_ms, "bob", "shop.buy", "", "done", "", "r")
        await hall.hall.database.write(lambda tx, row=row: insert_audit(tx, row))  # type: ignore[misc]
        await seal(hall)
    hall.clock.set_wall(begin)
    found = await listed(hall, boss, actor="bob", since_ms=begin + 6_000)
    assert [entry.at_ms - begin for entry in found] == [10_000_000, 6_000, 20_000_000]


async def test_a_page_looks_through_a_bounded_number_of_rows(hall: OpenHall, boss: Visitor) -> None:
    await fill(hall, 10_500)
    page = await hall.call("access.list_audit", {"actor": "nobody"}, as_=boss)
    assert (page.entries, page.next) == ([], 10_000)
    assert (await rows_of(hall))[-1] < 20_000
    page = await hall.call("access.list_audit", {"actor": "nobody", "after": page.next}, as_=boss)
    assert (page.entries, page.next) == ([], None)
