"""Addresses: their one form, and showing that one is yours by the code that was sent there."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from moothall.core.errors import InvalidArgumentError
from moothall.core.units import MINUTE_MS
from moothall.services.identity.rules.contacts import check_address
from moothall.testing import ManualClock, OpenHall, ProblemError, Visitor, open_test_hall
from tests.unit.services.identity.tables import read_everything

PASSWORD = "correct horse battery staple"
ALICE = "alice@example.org"


class Letterbox:
    """What the program that the hall sends with has taken."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "sent.jsonl"
        self.file.touch()

    @property
    def command(self) -> list[str]:
        return ["sh", "-c", f"cat >> '{self.file}'"]

    def messages(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    def code(self) -> str:
        """Return the code of the newest message."""
        found = re.search(r"\b[0-9]{8}\b", self.messages()[-1]["text"])
        assert found is not None
        return found[0]


@pytest.fixture
def letterbox(tmp_path: Path) -> Letterbox:
    return Letterbox(tmp_path)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def house(
    tmp_path: Path, letterbox: Letterbox, clock: ManualClock
) -> AsyncIterator[OpenHall]:
    """A hall that makes accounts by contact."""
    async with open_test_hall(tmp_path, clock=clock, tables=tables(letterbox)) as hall:
        yield hall


def tables(letterbox: Letterbox, **more: Any) -> dict[str, Any]:
    return {
        "registration": {"mode": "contact", "messages_per_contact_hour_max": 100, **more},
        "mail": {"command": letterbox.command},
    }


async def outcome(hall: OpenHall, action: str, who: Visitor | None = None, **fields: Any) -> str:
    token = None if who is None else who.token
    reply = await hall.answer(f"identity.{action}", fields, token=token)
    return reply.problem.name if reply.problem else "done"


async def ask(hall: OpenHall, letterbox: Letterbox, contact: str = ALICE) -> str:
    """Have a code sent and return it."""
    await hall.call("identity.request_contact", {"contact": contact})
    return letterbox.code()


async def registers(hall: OpenHall, name: str, contact: str, code: str) -> str:
    return await outcome(hall, "register", name=name, password=PASSWORD, contact=contact, code=code)


def another(code: str) -> str:
    return f"{(int(code) + 1) % 10**8:08}"


# --- the one form of an address -------------------------------------------------------------------


@pytest.mark.requirement("R10")
@pytest.mark.parametrize(
    ("given", "text", "key"),
    [
        ("Alice@EXAMPLE.org", "Alice@example.org", "email:alice@example.org"),
        ("alice+moot@example.org", "alice+moot@example.org", "email:alice@example.org"),
        ("a.b@example.org", "a.b@example.org", "email:a.b@example.org"),
        ("x@Bücher.example", "x@xn--bcher-kva.example", "email:x@xn--bcher-kva.example"),
        ("x@xn--bcher-kva.example", "x@xn--bcher-kva.example", "email:x@xn--bcher-kva.example"),
        ("o'brien@example.org", "o'brien@example.org", "email:o'brien@example.org"),
        ("+4915112345678", "+4915112345678", "phone:+4915112345678"),
    ],
)
def test_address_has_one_form(given: str, text: str, key: str) -> None:
    address = check_address(given)
    assert (address.text, address.key) == (text, key)


@pytest.mark.requirement("R32")
@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "alice",
        "@example.org",
        "alice@",
        "alice@localhost",
        "alice@192.0.2.1",
        "alice@[192.0.2.1]",
        "a..b@example.org",
        ".a@example.org",
        '"a b"@example.org',
        "a b@example.org",
        "alice@example.org\n",
        "alice@example.org\r\nBcc: eve@example.org",
        "alice@exa mple.org",
        "alice@-a.example",
        "alice@a@example.org",
        "zo\N{LATIN SMALL LETTER E WITH DIAERESIS}@example.org",
        "a" * 65 + "@example.org",
        "a@" + "b" * 64 + ".org",
        "a@" + ".".join(["bcdefgh"] * 32),
        "+",
        "+49",
        "+0151123456",
        "+49 151 1234567",
        "+4915112345678901",
        "+49151\N{ARABIC-INDIC DIGIT ONE}234567",
        "004915112345678",
    ],
)
def test_what_is_no_address_is_refused_with_a_remedy(wrong: str) -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        check_address(wrong)
    assert refusal.value.details["field"] == "contact"
    assert refusal.value.details["remedy"]


# --- registering ----------------------------------------------------------------------------------


@pytest.mark.requirement("R10")
async def test_code_from_the_mail_makes_the_account(house: OpenHall, letterbox: Letterbox) -> None:
    code = await ask(house, letterbox, "Alice@Example.ORG")
    [message] = letterbox.messages()
    assert message["address"] == "Alice@example.org"
    assert code in message["text"]
    assert code not in message["subject"]
    assert await registers(house, "alice", "ALICE@example.org", code) == "done"
    alice = await house.sign_in("alice")
    [contact] = (await house.call("identity.list_contacts", as_=alice)).contacts
    assert (contact.kind, contact.contact) == ("email", "Alice@example.org")


@pytest.mark.requirement("R10")
async def test_address_makes_one_account_in_every_spelling(
    house: OpenHall, letterbox: Letterbox
) -> None:
    assert await registers(house, "alice", ALICE, await ask(house, letterbox)) == "done"
    for number, spelling in enumerate(("ALICE@example.org", "alice+2@EXAMPLE.ORG", ALICE)):
        asked = {"contact": spelling}
        answer = await house.call("identity.request_contact", asked)
        assert answer.expires_at_ms == house.clock.now_ms() + 15 * MINUTE_MS
        message = letterbox.messages()[-1]
        assert "belongs to an account already" in message["text"]
        assert re.search(r"[0-9]{8}", message["text"]) is None
        assert await registers(house, f"eve {number + 2}", spelling, "00000000") == (
            "contact_code_refused"
        )
    assert len(await house.rows("SELECT 1 FROM identity_member")) == 1


@pytest.mark.requirement("R10")
async def test_answer_does_not_tell_whether_an_address_has_an_account(
    house: OpenHall, letterbox: Letterbox
) -> None:
    assert await registers(house, "alice", ALICE, await ask(house, letterbox)) == "done"
    known, unknown = [
        await house.call("identity.request_contact", {"contact": contact})
        for contact in (ALICE, "a1ice@example.org")
    ]
    assert known.expires_at_ms == unknown.expires_at_ms
    assert {type(known), type(unknown)} == {type(known)}
    refusals = []
    for name, contact in (("bob", ALICE), ("carol", "a1ice@example.org"), ("dave", "d@x.org")):
        fields = {"name": name, "password": PASSWORD, "contact": contact, "code": "1"}
        reply = await house.answer("identity.register", fields)
        assert reply.problem is not None
        refusals.append((reply.problem.name, reply.problem.details))
    assert refusals == [refusals[0]] * 3
    rows = await house.rows("SELECT wrong_guesses FROM identity_contact_code")
    assert rows == [(1,), (1,)], "both count guesses"


@pytest.mark.requirement("R10")
async def test_address_is_reserved_only_once_it_is_verified(
    house: OpenHall, letterbox: Letterbox
) -> None:
    await ask(house, letterbox)
    assert await house.rows("SELECT * FROM identity_contact") == []
    assert await registers(house, "alice", ALICE, await ask(house, letterbox)) == "done"


@pytest.mark.requirement("R10")
async def test_wrong_codes_are_counted_and_the_code_dies(
    house: OpenHall, letterbox: Letterbox
) -> None:
    code = await ask(house, letterbox)
    outcomes = await asyncio.gather(
        *(registers(house, f"eve {number + 2}", ALICE, another(code)) for number in range(4))
    )
    assert outcomes == ["contact_code_refused"] * 4
    assert await registers(house, "admin\x00", ALICE, code) == "invalid_argument"
    assert await registers(house, "alice", ALICE, code) == "done", "four mistakes are allowed"
    second = await ask(house, letterbox, "bob@example.org")
    for _ in range(5):
        assert await registers(house, "bob", "bob@example.org", another(second)) != "done"
    assert await registers(house, "bob", "bob@example.org", second) == "contact_code_refused"
    third = await ask(house, letterbox, "bob@example.org")
    assert await registers(house, "bob", "bob@example.org", third) == "done"


@pytest.mark.requirement("R10")
async def test_code_is_good_once_for_a_quarter_of_an_hour_and_for_its_address(
    house: OpenHall, letterbox: Letterbox, clock: ManualClock
) -> None:
    old = await ask(house, letterbox)
    clock.advance(15 * MINUTE_MS)
    assert await registers(house, "alice", ALICE, old) == "contact_code_refused"
    replaced, code = await ask(house, letterbox), await ask(house, letterbox)
    assert await registers(house, "alice", ALICE, replaced) == "contact_code_refused"
    assert await registers(house, "alice", "bob@example.org", code) == "contact_code_refused"
    outcomes = await asyncio.gather(
        *(registers(house, f"player {number + 2}", ALICE, code) for number in range(5))
    )
    assert sorted(outcomes) == ["contact_code_refused"] * 4 + ["done"]
    clock.advance(15 * MINUTE_MS)
    await ask(house, letterbox, "carol@example.org")
    clock.advance(15 * MINUTE_MS)
    await house.run_job("identity.sweep_registration")
    assert await house.rows("SELECT * FROM identity_contact_code") == []


@pytest.mark.requirement("R10")
async def test_right_code_is_not_lost_on_a_name_that_is_taken(
    house: OpenHall, letterbox: Letterbox
) -> None:
    assert await registers(house, "alice", ALICE, await ask(house, letterbox)) == "done"
    code = await ask(house, letterbox, "bob@example.org")
    for _ in range(6):
        assert await registers(house, "alice", "bob@example.org", code) == "name_taken"
    assert await registers(house, "bob", "bob@example.org", code) == "done"


@pytest.mark.requirement("R10")
async def test_without_contact_or_code_the_hall_says_what_is_missing(house: OpenHall) -> None:
    fields = {"name": "alice", "password": PASSWORD}
    missing = []
    for more in ({}, {"contact": ALICE}, {"code": "12345678"}):
        with pytest.raises(ProblemError) as refusal:
            await house.call("identity.register", {**fields, **more})
        missing.append(refusal.value.details["field"])
    assert missing == ["contact", "code", "contact"]
    with pytest.raises(ProblemError) as refusal:
        await house.call("identity.request_contact", {"contact": "+4915112345678"})
    assert refusal.value.details["reason"] == "this hall cannot send anything by phone"


@pytest.mark.requirement("R10")
async def test_messages_have_a_budget_per_address_and_source(
    tmp_path: Path, letterbox: Letterbox
) -> None:
    bounds = {"messages_per_contact_hour_max": 2, "messages_per_source_hour_max": 3}
    async with open_test_hall(tmp_path, tables=tables(letterbox, **bounds)) as hall:

        async def asks(contact: str) -> str:
            return await outcome(hall, "request_contact", contact=contact)

        assert [await asks(ALICE) for _ in range(3)] == ["done", "done", "rate_limited"]
        assert await asks("alice+again@example.org") == "rate_limited"
        assert [await asks(f"{one}@example.org") for one in "xy"] == ["done", "rate_limited"]
        assert len(letterbox.messages()) == 3
        [addresses] = await hall.rows(
            "SELECT count(*) FROM identity_budget WHERE source LIKE '%@%'"
        )
        assert addresses == (0,), "addresses are counted without being written down"


@pytest.mark.requirement("R10")
async def test_program_that_fails_is_told_as_unavailable(
    tmp_path: Path, letterbox: Letterbox
) -> None:
    broken = {**tables(letterbox), "mail": {"command": ["false"]}}
    async with open_test_hall(tmp_path, tables=broken) as hall:
        with pytest.raises(ProblemError) as refusal:
            await hall.call("identity.request_contact", {"contact": ALICE})
        assert (refusal.value.code, refusal.value.name) == ("unavailable", "message_not_sent")
        assert ALICE not in str(refusal.value.details)


# --- members' own ---------------------------------------------------------------------------------


@pytest.mark.requirement("R16")
async def test_a_stolen_session_adds_no_contact(house: OpenHall, letterbox: Letterbox) -> None:
    assert await registers(house, "alice", ALICE, await ask(house, letterbox)) == "done"
    alice = await house.sign_in("alice")
    sent = len(letterbox.messages())
    fields = {"contact": "mallory@example.net", "password": "not what alice chose"}
    assert await outcome(house, "add_contact", alice, **fields) == "wrong_credentials"
    assert len(letterbox.messages()) == sent


@pytest.mark.requirement("R10")
async def test_member_adds_verifies_and_removes_a_contact(
    house: OpenHall, letterbox: Letterbox
) -> None:
    assert await registers(house, "alice", ALICE, await ask(house, letterbox)) == "done"
    alice = await house.sign_in("alice")
    assert await outcome(house, "remove_contact", alice, contact=ALICE) == "last_contact"
    second = "alice@example.net"
    await house.call("identity.add_contact", {"contact": second, "password": PASSWORD}, as_=alice)
    code = letterbox.code()
    assert await registers(house, "eve", second, code) == "contact_code_refused", "it is alice's"
    assert await outcome(house, "verify_contact", alice, contact=second, code=another(code)) == (
        "contact_code_refused"
    )
    verified = await house.call(
        "identity.verify_contact", {"contact": second, "code": code}, as_=alice
    )
    assert verified.contact == second
    assert await outcome(house, "verify_contact", alice, contact=second, code=code) == (
        "contact_code_refused"
    )
    assert await outcome(house, "remove_contact", alice, contact="ALICE@example.org") == "done"
    left = (await house.call("identity.list_contacts", as_=alice)).contacts
    assert [one.contact for one in left] == [second]
    assert await outcome(house, "remove_contact", alice, contact=ALICE) == "contact_not_found"
    assert await registers(house, "bob", ALICE, await ask(house, letterbox)) == "done"
    kinds = [event.kind for event in await house.events("identity")]
    assert kinds.count("identity.contact_verified") == 3
    assert kinds.count("identity.contact_removed") == 1
    told = json.dumps([event.data for event in await house.events("identity")])
    assert "@" not in told


@pytest.mark.requirement("R10")
async def test_member_cannot_take_the_contact_of_another(
    house: OpenHall, letterbox: Letterbox
) -> None:
    assert await registers(house, "alice", ALICE, await ask(house, letterbox)) == "done"
    code = await ask(house, letterbox, "bob@example.org")
    assert await registers(house, "bob", "bob@example.org", code) == "done"
    bob = await house.sign_in("bob")
    await house.call("identity.add_contact", {"contact": ALICE, "password": PASSWORD}, as_=bob)
    assert "belongs to an account already" in letterbox.messages()[-1]["text"]
    assert await outcome(house, "remove_contact", bob, contact=ALICE) == "contact_not_found"
    assert await house.rows("SELECT count(DISTINCT member_id) FROM identity_contact") == [(2,)]


@pytest.mark.requirement("R10")
async def test_of_two_who_verify_one_address_the_second_is_refused(
    house: OpenHall, letterbox: Letterbox
) -> None:
    code = await ask(house, letterbox, "bob@example.org")
    assert await registers(house, "bob", "bob@example.org", code) == "done"
    bob = await house.sign_in("bob")
    await house.call("identity.add_contact", {"contact": ALICE, "password": PASSWORD}, as_=bob)
    of_bob = letterbox.code()
    of_alice = await ask(house, letterbox)
    assert await registers(house, "alice", ALICE, of_alice) == "done"
    assert await outcome(house, "verify_contact", bob, contact=ALICE, code=of_bob) == (
        "contact_code_refused"
    )


@pytest.mark.requirement("R10")
async def test_member_has_as_many_contacts_as_allowed(tmp_path: Path, letterbox: Letterbox) -> None:
    bounds = tables(letterbox, mode="open", contacts_per_member_max=1)
    async with open_test_hall(tmp_path, tables=bounds) as hall:
        alice = await hall.member("alice")
        await hall.call(
            "identity.add_contact", {"contact": "1@example.org", "password": PASSWORD}, as_=alice
        )
        first = letterbox.code()
        await hall.call("identity.add_contact", {"contact": ALICE, "password": PASSWORD}, as_=alice)
        fields = {"contact": ALICE, "code": letterbox.code()}
        assert await outcome(hall, "verify_contact", alice, **fields) == "done"
        more = {"contact": "c@example.org", "password": PASSWORD}
        assert await outcome(hall, "add_contact", alice, **more) == "contact_limit"
        late = {"contact": "1@example.org", "code": first}
        assert await outcome(hall, "verify_contact", alice, **late) == "contact_limit"
        assert await outcome(hall, "remove_contact", alice, contact=ALICE) == "done"
        assert await outcome(hall, "verify_contact", alice, **late) == "done"


@pytest.mark.requirement("R10")
async def test_open_hall_takes_a_contact_too(tmp_path: Path, letterbox: Letterbox) -> None:
    async with open_test_hall(tmp_path, tables=tables(letterbox, mode="open")) as hall:
        assert await registers(hall, "alice", ALICE, another(await ask(hall, letterbox))) == (
            "contact_code_refused"
        )
        assert await registers(hall, "alice", ALICE, letterbox.code()) == "done"
        assert await hall.rows("SELECT address FROM identity_contact") == [(ALICE,)]


@pytest.mark.requirement("R10")
async def test_codes_rest_nowhere(tmp_path: Path, letterbox: Letterbox) -> None:
    async with open_test_hall(tmp_path, tables=tables(letterbox)) as hall:
        code = await ask(hall, letterbox)
        rows = await read_everything(hall)
    assert ALICE in rows
    assert code not in rows
    assert code.encode() not in read_all(tmp_path / "hall")


def read_all(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


@pytest.mark.requirement("R10")
async def test_guest_becomes_a_member_by_a_contact(tmp_path: Path, letterbox: Letterbox) -> None:
    """A guest has no password to add a contact with, so the code is asked for as a newcomer."""
    async with open_test_hall(tmp_path, tables=tables(letterbox, guests=True)) as hall:
        opened = await hall.call("identity.register_guest")
        guest = Visitor(opened.member_id, opened.name, opened.session_id, opened.access_token)
        wanted = {"name": "alice", "new_password": PASSWORD, "contact": ALICE}
        code = await ask(hall, letterbox)
        refused = await outcome(hall, "become_member", guest, **wanted, code=another(code))
        assert refused == "contact_code_refused"
        assert await outcome(hall, "become_member", guest, **wanted, code=code) == "done"
        back = await hall.sign_in("alice")
        assert back.member_id == guest.member_id
        listed = await hall.call("identity.list_contacts", as_=back)
        assert [one.contact for one in listed.contacts] == [ALICE]
