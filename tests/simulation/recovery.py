"""What became of a deed whose answer nobody heard, and what the audit trail says of all."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from moothall.action.declare import Effect
from tests.simulation.deeds import Deed

if TYPE_CHECKING:
    from tests.simulation.simulator import Simulator


async def recover(sim: "Simulator", deed: Deed) -> None:
    """Find out whether a deed was done that no attempt was answered for.

    Where it has a key, the remembered reply tells, and the audit trail must agree. Of others the
    rows tell which cannot be repeated.
    """
    if deed.key is not None:
        stored = await _find_reply(sim, deed)
        is_audited = bool(await _find_audit(sim, deed))
        assert is_audited is (stored is not None), (
            f"{deed}: remembered reply {stored!r}, audit row: {is_audited}"
        )
        assert deed.done in {None, stored}, f"{deed}: answered {deed.done!r}, kept {stored!r}"
        assert len({one.body for one in deed.replies if one.body is not None}) < 2, deed.replies
        if stored is not None and deed.done is None:
            deed.settle(stored)
            sim.count("deeds done unheard")
    elif deed.is_open and await _find_audit(sim, deed):
        await _recover_unkeyed(sim, deed)


async def _recover_unkeyed(sim: "Simulator", deed: Deed) -> None:
    """Learn from the rows what a deed has come to that cannot be repeated."""
    hall = sim.world.hall
    if deed.action == "identity.register":
        name = deed.request["name"]
        [(member_id,)] = await hall.rows(
            "SELECT member_id FROM identity_member WHERE name = $1", name
        )
        deed.settle(msgspec.json.encode({"member_id": member_id, "name": name}))
    elif deed.action == "identity.open_session":
        for source in deed.sources:
            for session_id, member_id in await hall.rows(
                "SELECT session_id, member_id FROM identity_session WHERE source = $1", source
            ):
                fields = {"session_id": session_id, "member_id": member_id}
                tokens = {"refresh_token": "", "access_token": "", "access_expires_at_ms": 0}
                deed.settle(msgspec.json.encode({**fields, **tokens}))
    elif deed.action == "identity.change_password":
        deed.settle(b'{"sessions_ended":null}')


async def _find_reply(sim: "Simulator", deed: Deed) -> bytes | None:
    """Return the reply that is remembered under a deed's key."""
    sql = "SELECT reply FROM action_reply WHERE actor = $1 AND action = $2 AND key = $3"
    rows = await sim.world.hall.rows(sql, deed.actor, deed.action, deed.key)
    assert len(rows) < 2, f"{deed} has several remembered replies"
    return rows[0][0].encode() if rows else None


async def _find_audit(sim: "Simulator", deed: Deed) -> list[int]:
    """Return the numbers of audit rows that say that a deed was done."""
    places = ", ".join(f"${number + 2}" for number in range(len(deed.sources)))
    rows = await sim.world.hall.rows(
        "SELECT number FROM access_audit WHERE outcome = 'done' AND action = $1"
        f" AND source IN ({places}) ORDER BY number",
        deed.action,
        *deed.sources,
    )
    return [number for (number,) in rows]


async def follow_audit(sim: "Simulator", deeds: Sequence[Deed]) -> None:
    """Take the place of each deed in the trail, which has one row for each and no other."""
    catalog = sim.world.hall.hall.catalog
    for deed in deeds:
        found = await _find_audit(sim, deed)
        effect = catalog.actions[deed.action].effect
        if effect is Effect.WRITE:
            assert len(found) == (deed.done is not None), f"{deed} has audit rows {found}"
        elif effect is Effect.FLOW:
            assert found or deed.done is None, f"{deed} was done and has no audit row"
        deed.audit = found[0] if found else None


async def check_repeat(sim: "Simulator", old: Deed, again: Deed, *, is_other: bool) -> None:
    """See that a repeated call answers as it did, and that another one is refused."""
    [reply] = again.replies
    assert not await _find_audit(sim, again), f"{again} was done a second time"
    if is_other:
        assert reply.body is None, f"{again} was answered under a key that was used"
        sim.count("keys reused")
    elif reply.body is None:
        assert reply.problem is not None
        assert reply.problem.name in {"permission_denied", "unauthenticated"}, reply.problem
    else:
        assert reply.body == old.done, f"{again}: {reply.body!r}, before it was {old.done!r}"
        sim.count("replies repeated")
