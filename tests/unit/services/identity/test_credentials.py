"""Accounts of another system, with the passwords they had there; from the file to the sign-in."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from moothall.client.cli.credentials import Report, read_lines, send
from moothall.client.errors import CallError, HallUnreachableError
from moothall.core.codes import Code
from moothall.core.errors import Problem
from moothall.ports.hasher import PasswordHasher
from moothall.testing import OpenHall, ProblemError, Visitor
from moothall.testing.hall import CheapHasher

SIGNS = r"""~!@#$%^&*_-+=`|\(){}[]:;"'<>,.?/"""
PASSWORD = "correct horse battery staple"


async def bring(hall: OpenHall, who: Visitor, *rows: tuple[str, str]) -> Any:
    fields = {"rows": [{"name": name, "password": password} for name, password in rows]}
    return await hall.call("identity.import_credentials", fields, as_=who)


async def signs_in(hall: OpenHall, name: str, password: str) -> str:
    fields = {"name": name, "password": password}
    reply = await hall.answer("identity.open_session", fields)
    return reply.problem.name if reply.problem else "done"


class HallInside:
    """Stands for the client's hall: calls the hall of this test, and may be busy."""

    def __init__(self, hall: OpenHall, who: Visitor) -> None:
        self.hall, self.who = hall, who
        self.busy = 0
        self.is_away_after = 1_000
        self.calls: list[int] = []

    async def call(self, action: str, request: Any, **_options: object) -> Any:
        if self.busy:
            self.busy -= 1
            raise CallError(make_problem(Code.UNAVAILABLE))
        if len(self.calls) == self.is_away_after:
            raise HallUnreachableError("no answer")
        self.calls.append(len(request["rows"]))
        try:
            report = await self.hall.call(action, request, as_=self.who)
        except ProblemError as error:
            raise CallError(error.problem) from None
        return {
            "imported": [{"row": one.row, "is_weak": one.is_weak} for one in report.imported],
            "refused": [
                {"row": one.row, "field": one.field, "reason": one.reason} for one in report.refused
            ],
        }


def make_problem(code: Code) -> Problem:
    details = {"retry_after_ms": 1}
    return Problem("about:blank", "busy", 503, code.value, "overloaded", details, True, "")  # noqa: FBT003 - a problem's own order


# --- the file -------------------------------------------------------------------------------------


@pytest.mark.requirement("R6")
def test_first_space_separates_and_nothing_else_is_touched() -> None:
    text = "\ufeffann two words \r\n\r\nbob " + SIGNS + "\ncy \x85\u2028x\n\ndan   \neve a"
    lines, refused = read_lines(text.encode())
    assert [(one.number, one.name, one.password) for one in lines] == [
        (1, "ann", "two words "),
        (3, "bob", SIGNS),
        (4, "cy", "\x85\u2028x"),
        (6, "dan", "  "),
        (7, "eve", "a"),
    ]
    assert refused == []


@pytest.mark.requirement("R6")
def test_lines_that_cannot_be_sent_are_named_by_number_only() -> None:
    text = "secretwithoutname\n leading secret\nann \nbob " + "s" * 1_025 + "\n"
    lines, refused = read_lines(text.encode())
    assert lines == []
    assert [number for number, _ in refused] == [1, 2, 3, 4]
    assert "secret" not in repr(refused)
    with pytest.raises(ValueError, match="line 2"):
        read_lines(b"ann ok\nbob caf\xe9\n")


@pytest.mark.requirement("R6")
async def test_file_with_every_special_character_becomes_accounts_that_sign_in(
    hall: OpenHall, boss: Visitor, tmp_path: Path
) -> None:
    known = {f"user{at}": f"pass{sign}word{at}" for at, sign in enumerate(SIGNS)}
    known |= {f"first{at}": f"{sign}secret" for at, sign in enumerate(SIGNS)}
    known |= {f"last{at}": f"secret{sign}" for at, sign in enumerate(SIGNS)}
    known |= {"every": SIGNS, "turned": SIGNS[::-1], "spaced": f" {SIGNS} {SIGNS} ", "tiny": "a"}
    known |= {f"more{at}": f"{at}{SIGNS}" for at in range(20)}
    file = tmp_path / "credentials.txt"
    text = "".join(f"{name} {password}\n" for name, password in known.items())
    await asyncio.to_thread(file.write_bytes, text.encode())
    lines, refused = read_lines(await asyncio.to_thread(file.read_bytes))
    assert (len(lines), refused) == (len(known), [])
    stub, report = HallInside(hall, boss), Report()
    done: list[int] = []
    await send(stub, lines, report, done.append)  # type: ignore[arg-type]
    assert (report.imported, report.refused, report.stopped_by) == (len(known), [], None)
    assert stub.calls == done == [100, len(known) - 100]
    for name, password in known.items():
        assert await signs_in(hall, name, password) == "done", name
        assert await signs_in(hall, name, password + "x") == "wrong_credentials"
    text = repr(await hall.rows("SELECT * FROM access_audit"))
    text += repr(await hall.rows("SELECT * FROM action_event"))
    for password in known.values():
        assert len(password) < 4 or password not in text
    weak = [line.number for line in lines if len(line.password) < 8]
    assert report.weak == weak


@pytest.mark.requirement("R6")
async def test_import_goes_on_when_the_hall_was_busy_and_stops_when_it_is_away(
    hall: OpenHall, boss: Visitor
) -> None:
    lines, _ = read_lines("".join(f"user{at} {PASSWORD}\n" for at in range(250)).encode())
    stub, report = HallInside(hall, boss), Report()
    stub.busy, stub.is_away_after = 3, 2
    await send(stub, lines, report, lambda _count: None)  # type: ignore[arg-type]
    assert report.imported == 200
    assert isinstance(report.stopped_by, HallUnreachableError)
    stub.is_away_after, again = 1_000, Report()
    await send(stub, lines, again, lambda _count: None)  # type: ignore[arg-type]
    assert (again.imported, len(again.refused), again.stopped_by) == (50, 200, None)
    stub.busy, never = 1_000, Report()
    await send(stub, lines, never, lambda _count: None)  # type: ignore[arg-type]
    assert isinstance(never.stopped_by, CallError)
    assert stub.busy == 1_000 - 11


# --- the action -----------------------------------------------------------------------------------


@pytest.mark.requirement("R6")
async def test_account_that_exists_is_reported_and_left_as_it_is(
    hall: OpenHall, boss: Visitor
) -> None:
    await hall.member("alice")
    await hall.call("identity.add_members", {"names": ["bare"]}, as_=boss)
    report = await bring(
        hall, boss, ("Alice", "stolen"), ("bare", "stolen"), ("new", "first"), ("NEW", "second")
    )
    assert [one.row for one in report.imported] == [2]
    assert [(one.row, one.field) for one in report.refused] == [
        (0, "name"),
        (1, "name"),
        (3, "name"),
    ]
    assert await signs_in(hall, "alice", PASSWORD) == "done"
    assert await signs_in(hall, "bare", "stolen") == "wrong_credentials"
    assert await signs_in(hall, "new", "first") == "done"


@pytest.mark.requirement("R6")
async def test_bad_rows_are_refused_each_with_its_reason_and_no_password(
    hall: OpenHall, boss: Visitor
) -> None:
    rows = [
        ("", "no name here"),
        ("every:one", "colonised"),
        ("everyone", "reserved!"),
        ("n" * 100, "long name!"),
        ("tabbed", "tab\there"),
        ("empty", ""),
        ("long", "x" * 257),
        ("good", "a good one, by all means"),
        ("weak", "password1"),
    ]
    report = await bring(hall, boss, *rows)
    assert [(one.row, one.is_weak) for one in report.imported] == [(7, False), (8, True)]
    assert [one.row for one in report.refused] == [0, 1, 2, 3, 4, 5, 6]
    assert [one.field for one in report.refused] == ["name"] * 4 + ["password"] * 3
    for one in report.refused:
        assert one.reason
        assert rows[one.row][1] == "" or rows[one.row][1] not in one.reason
    kinds = [event.kind for event in await hall.events("identity")]
    assert kinds.count("identity.member_registered") == 3


@pytest.mark.requirement("R6")
async def test_passwords_of_a_file_typed_on_another_system_are_the_same(
    hall: OpenHall, boss: Visitor
) -> None:
    await bring(hall, boss, ("zoe", "cafe\N{COMBINING ACUTE ACCENT} au lait"))
    assert await signs_in(hall, "zoe", "café au lait") == "done"


async def test_repeated_import_hashes_nothing_anew(hall: OpenHall, boss: Visitor) -> None:
    class Counting(CheapHasher):
        hashed = 0

        async def hash(self, password: str) -> str:
            self.hashed += 1
            return await super().hash(password)

    hasher = Counting()
    hall.hall.house.ports[PasswordHasher] = hasher  # type: ignore[index]
    rows = [(f"user{at}", PASSWORD) for at in range(100)]
    await bring(hall, boss, *rows)
    report = await bring(hall, boss, *rows)
    assert (hasher.hashed, len(report.refused)) == (100, 100)


@pytest.mark.requirement("R32")
async def test_rows_of_a_call_are_bounded(hall: OpenHall, boss: Visitor) -> None:
    for count in (0, 101):
        with pytest.raises(ProblemError) as refusal:
            await bring(hall, boss, *[("user", PASSWORD)] * count)
        assert refusal.value.details["field"] == "rows"


@pytest.mark.requirement("R20")
async def test_importing_takes_permission(hall: OpenHall) -> None:
    alice = await hall.member("alice")
    with pytest.raises(ProblemError, match="permission_denied"):
        await bring(hall, alice, ("mallory", PASSWORD))
    assert await hall.rows("SELECT count(*) FROM identity_member") == [(1,)]
