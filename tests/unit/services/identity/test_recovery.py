"""Forgotten passwords: codes that are sent to a contact."""

import asyncio
import dataclasses
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moothall.ports.hasher import PasswordHasher
from moothall.ports.sender import SenderUnavailableError
from moothall.services.identity.adapters.recovery import RecoverySeal
from moothall.services.identity.adapters.senders import Senders
from moothall.services.identity.model import RecoveryCode
from moothall.testing import (
    ManualClock,
    OpenHall,
    ProblemError,
    SeededEntropy,
    Visitor,
    open_test_hall,
)
from moothall.testing.hall import CheapHasher

PASSWORD = "correct horse battery staple"
NEW = "another password, and longer"
MAIL = "Alice@example.org"
MINUTE_MS = 60_000


class Mailbox:
    """Implements Sender; keeps what it was given."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.is_down = False
        self.tries = 0

    async def send(self, address: str, subject: str, text: str) -> None:
        self.tries += 1
        if self.is_down:
            raise SenderUnavailableError("nobody answers")
        self.sent.append((address, text))

    @property
    def code(self) -> str:
        found = re.search(r"\b[a-z2-7]{4}(-[a-z2-7]{4}){3}\b", self.sent[-1][1])
        assert found is not None, self.sent
        return found[0]


def open_mailbox(hall: OpenHall) -> Mailbox:
    mailbox = Mailbox()
    hall.hall.house.ports[Senders] = Senders({"email": mailbox})  # type: ignore[index]
    return mailbox


async def verify_contact(hall: OpenHall, who: Visitor, address: str = MAIL) -> None:
    """Give a member a verified address, as if a code had been told."""
    key = f"email:{address.lower()}"
    sql = """
    INSERT INTO identity_contact (address_key, kind, address, member_id, verified_at_ms)
    VALUES ($1, 'email', $2, $3, $4)
    """
    now_ms = hall.clock.now_ms()
    await hall.hall.database.write(lambda tx: tx.execute(sql, key, address, who.member_id, now_ms))


async def request(hall: OpenHall, **fields: str) -> bytes:
    """Ask for a code and let the job send; return the answer, or the problem."""
    reply = await hall.answer("identity.request_recovery", fields)
    await hall.run_job("identity.send_recovery_codes")
    if reply.problem is not None:
        return msgspec.json.encode(dataclasses.replace(reply.problem, request_id=""))
    assert reply.body is not None
    return reply.body


async def complete(hall: OpenHall, code: str, name: str = "alice", new: str = NEW) -> Any:
    fields = {"name": name, "code": code, "new_password": new}
    return await hall.call("identity.complete_recovery", fields)


async def refuses(hall: OpenHall, code: str, name: str = "alice") -> bytes:
    """Return how a code is refused."""
    fields = {"name": name, "code": code, "new_password": NEW}
    reply = await hall.answer("identity.complete_recovery", fields)
    assert reply.problem is not None
    assert (reply.problem.name, reply.problem.code) == ("recovery_refused", "unauthenticated")
    return msgspec.json.encode(dataclasses.replace(reply.problem, request_id=""))


async def signs_in(hall: OpenHall, password: str, name: str = "alice") -> str:
    fields = {"name": name, "password": password}
    reply = await hall.answer("identity.open_session", fields)
    return reply.problem.name if reply.problem else "done"


@pytest.fixture
def mailbox(hall: OpenHall) -> Mailbox:
    return open_mailbox(hall)


@pytest.fixture
async def alice(hall: OpenHall) -> Visitor:
    visitor = await hall.member("alice")
    await verify_contact(hall, visitor)
    return visitor


# --- by a contact ---------------------------------------------------------------------------------


@pytest.mark.requirement("R17")
@pytest.mark.parametrize("fields", [{"name": "Alice"}, {"contact": "alice+new@EXAMPLE.org"}])
async def test_code_that_was_sent_sets_a_new_password_and_ends_all_sessions(
    hall: OpenHall, alice: Visitor, mailbox: Mailbox, fields: dict[str, str]
) -> None:
    await request(hall, **fields)
    [(address, text)] = mailbox.sent
    assert address == MAIL
    assert "alice" in text
    done = await complete(hall, mailbox.code)
    assert (done.member_id, done.name, done.sessions_ended) == (alice.member_id, "alice", 1)
    with pytest.raises(ProblemError, match="unauthenticated"):
        await hall.call("identity.get_self", as_=alice)
    assert await signs_in(hall, PASSWORD) == "wrong_credentials"
    assert await signs_in(hall, NEW) == "done"
    changed = [event.data for event in await hall.events("identity") if "password" in event.kind]
    assert changed == [{"member_id": alice.member_id, "reason": "recovered"}]


@pytest.mark.requirement("R17")
async def test_code_works_once(hall: OpenHall, alice: Visitor, mailbox: Mailbox) -> None:
    await request(hall, name="alice")
    fields = {"name": "alice", "code": mailbox.code, "new_password": NEW}
    replies = await asyncio.gather(
        *(hall.answer("identity.complete_recovery", fields) for _ in range(4))
    )
    told = sorted(reply.problem.name if reply.problem else "" for reply in replies)
    assert told == ["", *["recovery_refused"] * 3]
    await refuses(hall, mailbox.code)


@pytest.mark.requirement("R17")
async def test_code_expires_after_fifteen_minutes(
    hall: OpenHall, alice: Visitor, mailbox: Mailbox
) -> None:
    await request(hall, name="alice")
    hall.clock.advance(15 * MINUTE_MS)
    await refuses(hall, mailbox.code)
    assert await hall.rows("SELECT guesses FROM identity_recovery") == [(0,)], "nobody looked"
    await request(hall, name="alice")
    hall.clock.advance(15 * MINUTE_MS - 1)
    await complete(hall, mailbox.code)


@pytest.mark.requirement("R17")
@pytest.mark.parametrize("meanwhile", ["expires", "is replaced", "is used"])
async def test_code_that_was_right_when_hashing_began_must_be_right_at_its_end(
    hall: OpenHall, alice: Visitor, mailbox: Mailbox, meanwhile: str
) -> None:
    class Slow(CheapHasher):
        def __init__(self) -> None:
            self.gate, self.is_reached = asyncio.Event(), asyncio.Event()

        async def hash(self, password: str) -> str:
            self.is_reached.set()
            await self.gate.wait()
            return await super().hash(password)

    await request(hall, name="alice")
    hasher, code = Slow(), mailbox.code
    hall.hall.house.ports[PasswordHasher] = hasher  # type: ignore[index]
    late = asyncio.create_task(refuses(hall, code))
    await hasher.is_reached.wait()
    hall.hall.house.ports[PasswordHasher] = CheapHasher()  # type: ignore[index]
    if meanwhile == "expires":
        hall.clock.advance(15 * MINUTE_MS)
    elif meanwhile == "is replaced":
        hall.clock.advance(MINUTE_MS)
        await request(hall, name="alice")
    else:
        await complete(hall, code, new="the first new password")
    hasher.gate.set()
    await late
    assert await signs_in(hall, NEW) == "wrong_credentials"


@pytest.mark.requirement("R17")
async def test_code_has_five_guesses_of_which_the_last_may_be_right(
    hall: OpenHall, alice: Visitor, mailbox: Mailbox
) -> None:
    await request(hall, name="alice")
    wrong = mailbox.code[:4] + "-aaaa-aaaa-aaaa"
    for _ in range(4):
        await refuses(hall, wrong)
    await complete(hall, mailbox.code)
    hall.clock.advance(MINUTE_MS)
    await request(hall, name="alice")
    wrong = mailbox.code[:4] + "-aaaa-aaaa-aaaa"
    await asyncio.gather(*(refuses(hall, wrong) for _ in range(30)))
    assert await hall.rows("SELECT guesses FROM identity_recovery") == [(5,)]
    await refuses(hall, mailbox.code)
    assert await signs_in(hall, NEW) == "done"


@pytest.mark.requirement("R17")
async def test_stranger_cannot_use_up_the_guesses_of_a_code(
    hall: OpenHall, alice: Visitor, mailbox: Mailbox
) -> None:
    await request(hall, name="alice")
    for wrong in (
        "x",
        "0000-0000-0000-0000",
        "é" * 16,
        "\N{LATIN SMALL LETTER LONG S}" * 4,
        "9" * 500,
    ):
        await refuses(hall, wrong)
    assert await hall.rows("SELECT guesses FROM identity_recovery") == [(0,)]
    await complete(hall, f"  {mailbox.code.upper().replace('-', ' ')} ")


@pytest.mark.requirement("R17")
@pytest.mark.requirement("R1")
async def test_answers_never_tell_who_exists(
    hall: OpenHall, alice: Visitor, mailbox: Mailbox
) -> None:
    await hall.member("bare")
    before = await count_audit(hall)
    asked = [
        {"name": "alice"},
        {"name": "alice"},
        {"name": "bare"},
        {"name": "nobody"},
        {"name": "everyone"},
        {"contact": MAIL},
        {"contact": "nobody@example.org"},
        {"contact": "+4915112345678"},
    ]
    answers = {await request(hall, **fields) for fields in asked}
    assert len(answers) == 1, answers
    assert len(mailbox.sent) == 1
    assert await count_audit(hall) - before == len(asked), "each leaves one row, in one commit"
    wrong = mailbox.code[:4] + "-aaaa-aaaa-aaaa"
    refusals = {await refuses(hall, wrong, name) for name in ("alice", "bare", "nobody", "room")}
    assert len(refusals) == 1


async def count_audit(hall: OpenHall) -> int:
    return int((await hall.rows("SELECT count(*) FROM access_audit"))[0][0])


@pytest.mark.requirement("R17")
async def test_wrong_code_costs_no_hash_whoever_is_named(
    hall: OpenHall, alice: Visitor, mailbox: Mailbox
) -> None:
    class Counting(CheapHasher):
        hashed = 0

        async def hash(self, password: str) -> str:
            self.hashed += 1
            return await super().hash(password)

    hasher = Counting()
    hall.hall.house.ports[PasswordHasher] = hasher  # type: ignore[index]
    await request(hall, name="alice")
    for name in ("alice", "nobody"):
        await refuses(hall, mailbox.code[:4] + "-aaaa-aaaa-aaaa", name)
    assert hasher.hashed == 0


@pytest.mark.requirement("R17")
async def test_code_lifts_the_lock(hall: OpenHall, alice: Visitor, mailbox: Mailbox) -> None:
    for _ in range(3):
        await signs_in(hall, "a wrong password")
    assert await signs_in(hall, PASSWORD) == "account_locked"
    await request(hall, name="alice")
    await complete(hall, mailbox.code)
    assert await signs_in(hall, NEW) == "done"


@pytest.mark.requirement("R17")
async def test_mailbox_is_not_flooded(hall: OpenHall, alice: Visitor, mailbox: Mailbox) -> None:
    for _ in range(10):
        await request(hall, name="alice")
    assert len(mailbox.sent) == 1
    for _ in range(20):
        hall.clock.advance(MINUTE_MS)
        await request(hall, name="alice")
    assert len(mailbox.sent) == 5, "and five in an hour"


@pytest.mark.requirement("R17")
async def test_newer_code_takes_the_place_of_the_one_before(
    hall: OpenHall, alice: Visitor, mailbox: Mailbox
) -> None:
    await request(hall, name="alice")
    first = mailbox.code
    hall.clock.advance(MINUTE_MS)
    await request(hall, name="alice")
    assert mailbox.code != first
    await refuses(hall, first)
    await complete(hall, mailbox.code)


@pytest.mark.requirement("R17")
async def test_code_is_sent_again_while_the_sender_is_down_and_not_without_end(
    hall: OpenHall, alice: Visitor, mailbox: Mailbox
) -> None:
    mailbox.is_down = True
    await request(hall, name="alice")
    mailbox.is_down = False
    await hall.run_job("identity.send_recovery_codes")
    await hall.run_job("identity.send_recovery_codes")
    assert len(mailbox.sent) == 1
    hall.clock.advance(MINUTE_MS)
    mailbox.is_down, mailbox.tries = True, 0
    await request(hall, name="alice")
    for _ in range(10):
        await hall.run_job("identity.send_recovery_codes")
    assert mailbox.tries == 3


@pytest.mark.requirement("R17")
async def test_contact_that_was_removed_since_gets_nothing(
    hall: OpenHall, alice: Visitor, mailbox: Mailbox
) -> None:
    await hall.answer("identity.request_recovery", {"name": "alice"})
    await hall.hall.database.write(lambda tx: tx.execute("DELETE FROM identity_contact"))
    await hall.run_job("identity.send_recovery_codes")
    await hall.run_job("identity.send_recovery_codes")
    assert (mailbox.sent, mailbox.tries) == ([], 0)


@pytest.mark.requirement("R17")
async def test_password_that_was_changed_meanwhile_makes_codes_worthless(
    hall: OpenHall, alice: Visitor, mailbox: Mailbox
) -> None:
    await request(hall, name="alice")
    fields = {"password": PASSWORD, "new_password": "a third and longer one"}
    await hall.call("identity.change_password", fields, as_=alice)
    await refuses(hall, mailbox.code)


@pytest.mark.requirement("R17")
async def test_new_password_that_may_not_be_chosen_costs_no_guess(
    hall: OpenHall, alice: Visitor, mailbox: Mailbox
) -> None:
    await request(hall, name="alice")
    for new in ("short", "password1", "alicealice" * 30):
        with pytest.raises(ProblemError) as refusal:
            await complete(hall, mailbox.code, new=new)
        assert refusal.value.details["field"] == "new_password"
    assert await hall.rows("SELECT guesses FROM identity_recovery") == [(0,)]


@pytest.mark.requirement("R17")
async def test_code_of_one_member_does_nothing_for_another(
    hall: OpenHall, alice: Visitor, mailbox: Mailbox
) -> None:
    bob = await hall.member("bob")
    await verify_contact(hall, bob, "bob@example.org")
    await request(hall, name="bob")
    await refuses(hall, mailbox.code, "alice")
    await complete(hall, mailbox.code, "bob")


@pytest.mark.requirement("R32")
@pytest.mark.parametrize(
    "fields", [{}, {"name": "a", "contact": "a@example.org"}, {"contact": "no address"}]
)
async def test_request_names_one_of_both(hall: OpenHall, fields: dict[str, str]) -> None:
    with pytest.raises(ProblemError) as refusal:
        await hall.call("identity.request_recovery", fields)
    assert refusal.value.code == "invalid_argument"
    assert refusal.value.details["remedy"]


@pytest.mark.requirement("R17")
async def test_code_rests_nowhere_and_outlives_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_test_hall(tmp_path, clock=clock) as hall:
        mailbox = open_mailbox(hall)
        await verify_contact(hall, await hall.member("alice"))
        await request(hall, name="alice")
        plain = mailbox.code.replace("-", "")
        kept = read_all(tmp_path)
        for secret in (mailbox.code, plain, plain[4:]):
            assert secret.encode() not in kept
    async with open_test_hall(tmp_path, clock=clock) as hall:
        await complete(hall, mailbox.code)


def read_all(folder: Path) -> bytes:
    return b"".join(one.read_bytes() for one in folder.rglob("*") if one.is_file())


@pytest.mark.requirement("R17")
async def test_spent_rows_are_swept(hall: OpenHall, alice: Visitor, mailbox: Mailbox) -> None:
    await request(hall, name="alice")
    hall.clock.advance(2 * 86_400_000)
    await hall.run_job("identity.sweep_registration")
    assert await hall.rows("SELECT * FROM identity_recovery") == []


def test_seal_knows_its_codes_and_no_others() -> None:
    one = RecoverySeal(bytes(32), SeededEntropy())
    other = RecoverySeal(bytes(31) + b"1", SeededEntropy())
    selector, nonce = one.make_parts()
    row = RecoveryCode("m", "sent", selector, nonce, 0, 0, 0)
    code = one.code(row)
    assert one.is_code(row, one.read(code.upper()))
    assert not other.is_code(row, other.read(code))
    for wrong in (code[:-1], code + "a", "", "-", code[:4], "é" + code[1:]):
        assert not one.is_code(row, one.read(wrong)), wrong
    for field, value in (("member_id", "n"), ("kind", "issued"), ("nonce", "00")):
        assert not one.is_code(msgspec.structs.replace(row, **{field: value}), one.read(code))
