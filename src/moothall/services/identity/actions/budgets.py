"""Budgets by the hour of the clock, counted exactly, in rows.

They commit with the deed that they allow: what is refused or fails costs nothing.
"""

from typing import NamedTuple

from moothall.action import Context
from moothall.core.errors import RateLimitedError
from moothall.core.units import HOUR_MS
from moothall.services.identity.store import registration


class Budget(NamedTuple):
    """So many deeds of a kind by one holder in an hour; the empty holder is the whole hall."""

    kind: str
    holder: str
    most: int


async def check_budgets(step: Context, *budgets: Budget) -> None:
    """Refuse the deed if one of ``budgets`` is spent.

    Raises:
        RateLimitedError: resource_exhausted. With the time until the next hour begins.
    """
    hour = step.now_ms // HOUR_MS
    for budget in budgets:
        used = await registration.get_budget_used(step.tx, hour, budget.kind, budget.holder)
        if used >= budget.most:
            whose = "this address" if budget.holder else "the whole hall"
            raise RateLimitedError(
                f"the {budget.most} {budget.kind} an hour of {whose} are used up",
                retry_after_ms=(hour + 1) * HOUR_MS - step.now_ms,
            )


async def spend_budgets(step: Context, *budgets: Budget) -> None:
    """Use one of each of ``budgets`` in this step, or refuse the deed.

    Raises:
        RateLimitedError: resource_exhausted. With the time until the next hour begins.
    """
    await check_budgets(step, *budgets)
    for budget in budgets:
        await registration.update_budget_used(
            step.tx, step.now_ms // HOUR_MS, budget.kind, budget.holder
        )
