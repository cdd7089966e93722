"""How long a token lives, by this machine's own clock.

A hall says when a token ends by its clock, which may differ from ours. So the end is reckoned
from the lifetime that was left when the hall answered, and from then on by monotonic time. Only
what outlives the process is reckoned by the wall clock.
"""

import email.utils
from dataclasses import dataclass

from moothall.client.exchange import Answer
from moothall.client.world import World

_LIFETIME_MS_MAX = 3_600_000
_LIFETIME_MS_UNKNOWN = 60_000
_MARGIN_MS = 30_000
"""A token is renewed this long before its end, or in the last fifth of a short life."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Until when a token is good, in monotonic seconds; without arguments: it is not.

    Attributes:
        fresh_until_s: Until then it need not be renewed.
        valid_until_s: Until then a server takes it.
    """

    fresh_until_s: float = float("-inf")
    valid_until_s: float = float("-inf")


def lifetime_of(
    world: World, lifetime_ms: int, received_at_ms: int, *, from_disk: bool
) -> Lifetime:
    """Return until when a token is good.

    Args:
        world: Time.
        lifetime_ms: How long it lived from ``received_at_ms`` on.
        received_at_ms: When it came, by this machine's clock.
        from_disk: It may have come long ago; else it came just now.
    """
    age_ms = world.now_ms() - received_at_ms if from_disk else 0
    if age_ms < 0:
        return Lifetime()  # The clock was set back: how old the token is cannot be known.
    left_ms = lifetime_ms - age_ms
    margin_ms = min(_MARGIN_MS, lifetime_ms // 5)
    now_s = world.monotonic()
    return Lifetime(now_s + (left_ms - margin_ms) / 1_000, now_s + left_ms / 1_000)


def left_at_answer_ms(
    expires_at_ms: int, answer: Answer, *, hall_now_ms: int | None, now_ms: int
) -> int:
    """Return how long a token lives that an answer brought; a short time where it cannot be true.

    Args:
        expires_at_ms: Its end, by the clock of the hall.
        answer: What brought it.
        hall_now_ms: The clock of the hall, if it was asked for; else the answer may tell.
        now_ms: The clock of this machine.
    """
    if hall_now_ms is None:
        hall_now_ms = _sent_at_ms(answer, now_ms)
    lifetime_ms = expires_at_ms - hall_now_ms
    return lifetime_ms if 0 < lifetime_ms <= _LIFETIME_MS_MAX else _LIFETIME_MS_UNKNOWN


def _sent_at_ms(answer: Answer, now_ms: int) -> int:
    """Return when a hall sent an answer by its own clock; by ours where it does not tell."""
    try:
        sent = email.utils.parsedate_to_datetime(answer.headers.get("date", ""))
    except (ValueError, TypeError):
        return now_ms
    return int(sent.timestamp() * 1_000)
