"""Rooms of one's own: the guest book of the examples, and that of the tutorial (R40).

What depends on time is shown in a hall whose clock stands still; all else in a served one.
"""

import json
import shutil
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from moothall.client import Wallet
from moothall.testing import OpenHall, ProblemError, open_test_hall
from tests.plays.conftest import NewPerson, RunningHall, StartHall
from tests.plays.test_readme import Newcomer
from tests.unit.test_docs import ROOT, fences_of

EXAMPLE = ROOT / "examples" / "guestbook"
TUTORIAL = ROOT / "docs" / "tutorials" / "your-first-room.md"
WIRE = ROOT / "docs" / "reference" / "wire.md"
SIGN = "guestbook.sign_book"
PERMISSION_DENIED, KEY_REUSED, INVALID = 12, 16, 10

pytestmark = pytest.mark.requirement("R40")


def test_it_has_fifteen_lines_at_most() -> None:
    files = [path for path in EXAMPLE.rglob("*") if path.suffix in {".py", ".sql"}]
    lines = [line for path in files for line in path.read_text("utf-8").splitlines()]
    assert len(files) == 3
    assert 0 < len([line for line in lines if line.strip()]) <= 15


# --- served ---------------------------------------------------------------------------------------


def ask(hall: RunningHall, method: str, path: str, **options: Any) -> httpx.Response:
    """Ask the hall without the client, as any program may."""
    trust = ssl.create_default_context(cafile=hall.folder / "tls" / "certificate.pem")
    with httpx.Client(base_url=hall.url, verify=trust, trust_env=False) as door:
        return door.request(method, path, **options)


def test_it_is_served_everywhere(start_hall: StartHall, new_person: NewPerson) -> None:
    hall = start_hall("hall", "--functions", str(EXAMPLE))

    document = ask(hall, "GET", "/openapi.json").json()
    operation = document["paths"][f"/v1/{SIGN}"]["post"]
    assert operation["summary"] == "Write a line into the guest book."
    assert operation["security"] == [{"bearer": []}]
    assert operation["x-moothall"]["permission"] == "guestbook:sign"
    assert operation["x-moothall"]["limit"] == {"per": "actor", "calls": 5, "window_ms": 1_000}
    schema = document["components"]["schemas"]["SignBook"]
    assert schema["properties"]["text"]["maxLength"] == 4_000
    assert schema["additionalProperties"] is False

    nobody = ask(hall, "POST", f"/v1/{SIGN}", json={"text": "I was here"})
    assert (nobody.status_code, nobody.json()["code"]) == (401, "unauthenticated")

    ann = new_person()
    ann.joins(hall, "ann")
    assert ann.does("book", "sign", "I was here").strip() == "number: 1"
    assert "Write a line into the guest book." in ann.does("book", "sign", "--help")

    words = ("call", SIGN, '{"text": "once"}', "--idempotency-key", "k", "--json")
    assert ann.does(*words) == ann.does(*words) == '{"number":2}\n'
    other = ann.moothall("call", SIGN, '{"text": "twice"}', *words[3:])
    assert other.returncode == KEY_REUSED
    assert json.loads(other.stderr)["name"] == "key_reused"

    misspelt = ann.moothall("call", SIGN, '{"txt": "I was here"}', "--json")
    assert misspelt.returncode == INVALID
    assert "text" in json.loads(misspelt.stderr)["details"]["remedy"]
    assert json.loads(ann.does("book", "sign", "after all that", "--json")) == {"number": 3}


async def test_it_is_a_method_of_the_sdk(start_hall: StartHall, new_person: NewPerson) -> None:
    hall = start_hall("hall", "--functions", str(EXAMPLE))
    ann = new_person()
    ann.joins(hall, "ann")
    async with Wallet(ann.folder / "wallet").hall() as client:
        assert await client.guestbook.sign_book(text="I was here") == {"number": 1}


@pytest.mark.requirement("R20")
@pytest.mark.requirement("R22")
def test_whoever_lacks_the_permission_is_refused_until_it_is_granted(
    start_hall: StartHall, new_person: NewPerson, tmp_path: Path
) -> None:
    room = tmp_path / "rooms" / "guestbook"
    shutil.copytree(EXAMPLE, room, ignore=shutil.ignore_patterns("__pycache__"))
    (room / "__init__.py").write_text('"""A guest book for guests of honour."""\n')
    hall = start_hall("hall", "--functions", str(room.parent))
    ann, boss = new_person(), new_person()
    ann.joins(hall, "ann")
    boss.joins(hall, "boss")

    refused = ann.moothall("book", "sign", "I was here", "--json")
    assert refused.returncode == PERMISSION_DENIED
    problem = json.loads(refused.stderr)
    assert problem["details"]["permission"] == "guestbook:sign"
    assert ann.moothall("role", "grant", "ann", "honoured").returncode == PERMISSION_DENIED

    boss.does("administration", "claim", "--secret-stdin", stdin=f"{hall.secret}\n")
    boss.does("role", "define", "honoured", "--permissions", "guestbook:sign")
    assert ann.moothall("book", "sign", "and now?").returncode == PERMISSION_DENIED
    boss.does("role", "grant", "ann", "honoured")
    assert ann.does("book", "sign", "I was here").strip() == "number: 1"

    boss.does("role", "revoke", "ann", "honoured", "--yes")
    assert ann.moothall("book", "sign", "still here").returncode == PERMISSION_DENIED


# --- in a hall whose clock stands still -----------------------------------------------------------


@pytest.fixture(name="hall")
async def open_guestbook(tmp_path: Path) -> AsyncIterator[OpenHall]:
    async with open_test_hall(tmp_path, functions=[EXAMPLE], limits_scale=1.0) as hall:
        yield hall


async def lines_of(hall: OpenHall) -> list[tuple[Any, ...]]:
    """Return the book as it is in the database."""
    rows = await hall.rows("SELECT number, member_id, text FROM guestbook_line ORDER BY number")
    return [tuple(row) for row in rows]


async def test_a_sixth_call_within_a_second_is_refused(hall: OpenHall) -> None:
    ann, bob = await hall.member("ann"), await hall.member("bob")
    for number in range(1, 6):
        assert (await hall.call(SIGN, {"text": "again"}, as_=ann)).number == number
    with pytest.raises(ProblemError) as refused:
        await hall.call(SIGN, {"text": "again"}, as_=ann)
    assert (refused.value.code, refused.value.name) == ("resource_exhausted", "rate_limited")
    retry_after_ms = refused.value.details["retry_after_ms"]
    assert isinstance(retry_after_ms, int)
    assert 0 < retry_after_ms <= 1_000
    assert len(await lines_of(hall)) == 5, "what is refused leaves nothing"

    assert (await hall.call(SIGN, {"text": "my turn"}, as_=bob)).number == 6, "limits are one's own"
    hall.clock.advance(retry_after_ms)
    assert (await hall.call(SIGN, {"text": "again"}, as_=ann)).number == 7


@pytest.mark.requirement("R34")
async def test_a_deed_is_done_once(hall: OpenHall) -> None:
    ann, bob = await hall.member("ann"), await hall.member("bob")
    first = await hall.call(SIGN, {"text": "I was here"}, as_=ann, key="k")
    again = await hall.call(SIGN, {"text": "I was here"}, as_=ann, key="k")
    assert first == again
    with pytest.raises(ProblemError, match="key_reused"):
        await hall.call(SIGN, {"text": "something else"}, as_=ann, key="k")
    assert await lines_of(hall) == [(1, ann.member_id, "I was here")]
    assert (await hall.call(SIGN, {"text": "me too"}, as_=bob, key="k")).number == 2


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"txt": "I was here"}, "txt"),
        ({"text": "I was here", "number": 7}, "number"),
        ({"text": 7}, "text"),
        ({"text": "x" * 4_001}, "text"),
        ({}, "text"),
    ],
    ids=["misspelt", "unknown", "no text", "too long", "missing"],
)
async def test_what_is_refused_leaves_nothing(
    hall: OpenHall, fields: dict[str, object], field: str
) -> None:
    ann = await hall.member("ann")
    counts = "SELECT (SELECT count(*) FROM guestbook_line), (SELECT count(*) FROM action_reply)"
    before = await hall.rows(counts)
    with pytest.raises(ProblemError) as refused:
        await hall.call(SIGN, fields, as_=ann, key="k")
    assert refused.value.code == "invalid_argument"
    assert refused.value.details["field"] == field
    if field == "txt":
        assert refused.value.details["remedy"] == "did you mean text?"
    assert await hall.rows(counts) == before
    assert (await hall.call(SIGN, {"text": "I was here"}, as_=ann, key="k")).number == 1
    assert await lines_of(hall) == [(1, ann.member_id, "I was here")]


async def test_nobody_signs_without_a_token(hall: OpenHall) -> None:
    with pytest.raises(ProblemError) as refused:
        await hall.call(SIGN, {"text": "I was here"})
    assert refused.value.code == "unauthenticated"
    assert await lines_of(hall) == []


# --- the tutorial ---------------------------------------------------------------------------------


def test_tutorial_begins_with_the_example() -> None:
    """Whoever served the example goes on in the same hall, whose tables are there already."""
    first: dict[str, str] = {}
    for fence in fences_of(TUTORIAL):
        first.setdefault(fence.file, fence.text)
    for path in sorted(EXAMPLE.rglob("*")):
        if path.suffix in {".py", ".sql"}:
            name = f"rooms/guestbook/{path.relative_to(EXAMPLE)}"
            assert first[name] == path.read_text("utf-8")


def test_tutorial_from_top_to_bottom(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    # With it, pytest is as strict as in a clone.
    shutil.copy(ROOT / "pyproject.toml", clone)
    newcomer = Newcomer(clone, tmp_path)
    third = None
    shown: list[tuple[int, str]] = []
    try:
        for fence in fences_of(TUTORIAL):
            if fence.file:
                (clone / fence.file).write_text(fence.text)
            elif "feed follow" in fence.text:
                third = newcomer.watches(fence.text)
                assert third.wait_for("following guestbook"), third.shown
            elif fence.language == "sh":
                shown.append(newcomer.tries(fence.text.replace("make .venv/.dev", ":")))
        assert third is not None
        assert third.wait_for("guestbook.book_signed"), third.shown
        [by_curl] = [one.text for one in fences_of(WIRE) if one.language == "sh"]
        assert '"name":"ada"' in newcomer.pastes(by_curl)
        newcomer.stops_the_hall()
    finally:
        if third is not None:
            third.close()
        newcomer.leaves()
    folder, _serve, meet, register, sign, misspelt, curl, _again, read, repeated, test = shown
    assert [code for code, _ in (folder, meet, register, sign, curl, read, test)] == [0] * 7, shown
    assert sign[1].startswith("number: 1\n")
    assert misspelt[0] == INVALID
    assert "did you mean text?" in misspelt[1]
    assert curl[1] == '{"number":2}'
    assert "I was here" in read[1]
    assert "Me again" in read[1]
    assert repeated[0] == 14
    assert "You wrote this line already." in repeated[1]
    assert "1 passed" in test[1]
