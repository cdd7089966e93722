"""Forgotten passwords: codes that an administrator hands over, and for whom they may not."""

import pytest

from moothall.testing import OpenHall, ProblemError, Visitor
from tests.unit.services.identity.test_recovery import (
    NEW,
    PASSWORD,
    Mailbox,
    complete,
    open_mailbox,
    refuses,
    request,
    signs_in,
    verify_contact,
)


@pytest.fixture
def mailbox(hall: OpenHall) -> Mailbox:
    return open_mailbox(hall)


@pytest.fixture
async def alice(hall: OpenHall) -> Visitor:
    visitor = await hall.member("alice")
    await verify_contact(hall, visitor)
    return visitor


async def issue(hall: OpenHall, by: Visitor, member: str = "alice") -> str:
    issued = await hall.call("identity.issue_recovery_code", {"member": member}, as_=by)
    return str(issued.code)


@pytest.mark.requirement("R17")
async def test_administrator_hands_a_code_over_that_is_good_for_a_day(
    hall: OpenHall, alice: Visitor, boss: Visitor
) -> None:
    code = await issue(hall, boss)
    hall.clock.advance(86_400_000 - 1)
    await complete(hall, code)
    assert await signs_in(hall, NEW) == "done"
    boss = await hall.sign_in("boss")
    code = await issue(hall, boss)
    hall.clock.advance(86_400_000)
    await refuses(hall, code)


@pytest.mark.requirement("R17")
async def test_account_without_a_password_gets_its_first_one_so(
    hall: OpenHall, boss: Visitor
) -> None:
    await hall.call("identity.add_members", {"names": ["imported"]}, as_=boss)
    await complete(hall, await issue(hall, boss, "imported"), "imported")
    assert await signs_in(hall, NEW, "imported") == "done"


@pytest.mark.requirement("R17")
async def test_code_that_is_sent_leaves_the_one_that_was_issued(
    hall: OpenHall, alice: Visitor, boss: Visitor, mailbox: Mailbox
) -> None:
    code = await issue(hall, boss)
    await request(hall, name="alice")
    await complete(hall, code)
    await refuses(hall, mailbox.code)


@pytest.fixture
async def helper(hall: OpenHall, boss: Visitor) -> Visitor:
    """May recover members, and is no administrator."""
    visitor = await hall.member("helper")
    fields = {"member": "helper", "role": "credentials_manager", "at": ""}
    await hall.call("access.grant_role", fields, as_=boss)
    return visitor


@pytest.mark.requirement("R17")
@pytest.mark.requirement("R22")
async def test_nobody_takes_over_an_account_that_may_do_more(
    hall: OpenHall, alice: Visitor, boss: Visitor, helper: Visitor
) -> None:
    assert await complete(hall, await issue(hall, helper))
    for member in ("boss", boss.member_id):
        with pytest.raises(ProblemError) as refusal:
            await issue(hall, helper, member)
        assert (refusal.value.code, refusal.value.name) == (
            "permission_denied",
            "recovery_exceeds_own",
        )
    # More at one board only is more, too.
    fields = {"member": "alice", "role": "administrator", "at": "board/7"}
    await hall.call("access.grant_role", fields, as_=boss)
    with pytest.raises(ProblemError, match="recovery_exceeds_own"):
        await issue(hall, helper)
    assert await issue(hall, boss)
    assert await issue(hall, boss, "helper")


@pytest.mark.requirement("R17")
@pytest.mark.requirement("R22")
async def test_code_is_worthless_once_its_member_may_do_more_than_its_issuer(
    hall: OpenHall, alice: Visitor, boss: Visitor, helper: Visitor
) -> None:
    code = await issue(hall, helper)
    binding = {"member": "alice", "role": "administrator", "at": ""}
    await hall.call("access.grant_role", binding, as_=boss)
    await refuses(hall, code)
    assert await signs_in(hall, PASSWORD) == "done"
    await hall.call("access.revoke_role", binding, as_=boss)
    own = {"member": "helper", "role": "credentials_manager", "at": ""}
    await hall.call("access.revoke_role", own, as_=boss)
    await refuses(hall, code)


@pytest.mark.requirement("R20")
async def test_issuing_takes_permission(hall: OpenHall, alice: Visitor, boss: Visitor) -> None:
    for member in ("alice", "nobody"):
        with pytest.raises(ProblemError, match="permission_denied"):
            await issue(hall, alice, member)
    with pytest.raises(ProblemError, match="member_not_found"):
        await issue(hall, boss, "nobody")


@pytest.mark.requirement("R24")
async def test_codes_stand_neither_in_the_audit_trail_nor_in_events(
    hall: OpenHall, alice: Visitor, boss: Visitor
) -> None:
    code = await issue(hall, boss)
    await refuses(hall, code[:4] + "-aaaa-aaaa-aaaa")
    await complete(hall, code)
    rows = await hall.rows("SELECT actor, action, path, outcome FROM access_audit")
    where = f"member/{alice.member_id}"
    assert rows[-3:] == [
        (boss.member_id, "identity.issue_recovery_code", where, "done"),
        ("", "identity.complete_recovery", where, "recovery_refused"),
        (alice.member_id, "identity.complete_recovery", where, "done"),
    ]
    text = repr(await hall.rows("SELECT * FROM access_audit"))
    text += repr(await hall.rows("SELECT * FROM action_event"))
    for secret in (code, code.replace("-", ""), NEW):
        assert secret not in text
    issued = [event.data for event in await hall.events("identity") if "issued" in event.kind]
    assert issued == [{"member_id": alice.member_id, "issued_by": boss.member_id}]
