"""Budgets by the hour of the clock, counted exactly, in rows.

They commit with the deed that they allow: what is refused or fails costs nothing. Until then
nobody else spends of them, so whoever spends of several does so in one order, from the most
particular one to that of the whole hall: source, address, hall.
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
    """Refuse the deed early if one of ``budgets`` is spent already.

    Raises:
        RateLimitedError: resource_exhausted. With the time until the next hour begins.
    """
    hour = step.now_ms // HOUR_MS
    for budget in budgets:
        used = await registration.get_budget_used(step.tx, hour, budget.kind, budget.holder)
        if used >= budget.most:
            raise _spent(budget, step.now_ms)


async def spend_budgets(step: Context, *budgets: Budget) -> None:
    """Use one of each of ``budgets`` in this step, or refuse the deed.

    Raises:
        RateLimitedError: resource_exhausted. With the time until the next hour begins.
    """
    hour = step.now_ms // HOUR_MS
    for budget in budgets:
        if not await registration.update_budget_used(
            step.tx, hour, budget.kind, budget.holder, budget.most
        ):
            raise _spent(budget, step.now_ms)


def _spent(budget: Budget, now_ms: int) -> RateLimitedError:
    """Return the refusal of one deed too many."""
    whose = "this address" if budget.holder else "the whole hall"
    return RateLimitedError(
        f"the {budget.most} {budget.kind} an hour of {whose} are used up",
        retry_after_ms=HOUR_MS - now_ms % HOUR_MS,
    )
