"""Calls that tests of the access room make again and again."""

from typing import Any

import pytest

from moothall.ports.authority import Rights
from moothall.testing import OpenHall, ProblemError, Visitor


async def refused(
    hall: OpenHall, who: Visitor | None, action: str, request: dict[str, Any] | None = None
) -> ProblemError:
    with pytest.raises(ProblemError) as refusal:
        await hall.call(action, request, as_=who)
    return refusal.value


async def may(hall: OpenHall, who: Visitor, permission: str, at: str = "") -> bool:
    answer = await hall.call("access.check", {"permission": permission, "at": at}, as_=who)
    return bool(answer.is_allowed)


async def rights_of(hall: OpenHall, principal: str) -> Rights:
    """What anybody holds, whether they are in memory or not."""
    return await hall.hall.database.read(
        lambda tx: hall.hall.house.authority.rights_of(tx, principal)
    )


async def change(hall: OpenHall, who: Visitor, verb: str, member: str, role: str, at: str) -> None:
    await hall.call(f"access.{verb}_role", {"member": member, "role": role, "at": at}, as_=who)


async def do(hall: OpenHall, who: Visitor, verb: str, **request: Any) -> Any:
    return await hall.call(f"access.{verb}", request, as_=who)
