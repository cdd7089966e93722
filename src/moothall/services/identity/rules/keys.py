"""Decisions about signing keys: which one signs, and how long the others verify."""

from collections.abc import Sequence

from moothall.action.token import LIFE_SECONDS, SKEW_SECONDS
from moothall.core.errors import InvalidArgumentError
from moothall.core.units import SECOND_MS
from moothall.services.identity.model import KeySettings, KeyState, KeyView, SigningKey

VERIFIES_ON_MS = (LIFE_SECONDS + SKEW_SECONDS) * SECOND_MS
"""How long a key verifies after it has ceased to sign: until its last token has expired."""

DIGITS_MAX = 15
"""Digits of a time in a cursor; such a number fits any database."""


def choose_current(keys: Sequence[SigningKey], now_ms: int) -> SigningKey:
    """Return which of the keys in their order signs now; there is at least one.

    A clock that was set far back finds none whose time has come; then the first one signs.
    """
    begun = [key for key in keys if key.begins_at_ms <= now_ms]
    return begun[-1] if begun else keys[0]


def show_key(key: SigningKey, published: Sequence[SigningKey], now_ms: int) -> KeyView:
    """Return how a key stands among those that are published, given in their order."""
    current = choose_current(published, now_ms)
    state, retires_at_ms = KeyState.NEXT, key.retired_at_ms
    if key.retired_at_ms is not None:
        state = KeyState.RETIRED
    elif key == current:
        state = KeyState.CURRENT
    elif key.turn < current.turn:
        state, retires_at_ms = KeyState.OLD, _retires_at_ms(key, published)
    return KeyView(
        kid=key.kid,
        state=state,
        created_at_ms=key.created_at_ms,
        begins_at_ms=key.begins_at_ms,
        retires_at_ms=retires_at_ms,
    )


def choose_retired(published: Sequence[SigningKey], now_ms: int) -> list[SigningKey]:
    """Return the keys whose last token has expired; they are given in their order."""
    current = choose_current(published, now_ms)
    return [
        key
        for key in published
        if key.turn < current.turn and _retires_at_ms(key, published) <= now_ms
    ]


def is_rotation_pending(published: Sequence[SigningKey], now_ms: int) -> bool:
    """Tell whether a key waits for its time to sign."""
    return published[-1].turn > choose_current(published, now_ms).turn


def is_rotation_due(published: Sequence[SigningKey], settings: KeySettings, now_ms: int) -> bool:
    """Tell whether the next key should be published now, to take over when it is time."""
    ends_ms = choose_current(published, now_ms).begins_at_ms + settings.rotate_every_ms
    is_time = now_ms + settings.publish_ahead_ms >= ends_ms
    has_room = len(published) < settings.keys_max
    return is_time and has_room and not is_rotation_pending(published, now_ms)


def show_cursor(key: SigningKey) -> str:
    """Return the cursor behind a key in a list."""
    return ".".join(map(str, key.turn))


def read_cursor(cursor: str) -> tuple[int, int, str]:
    """Return the place in the order of keys that :func:`show_cursor` has shown.

    Raises:
        InvalidArgumentError: It has shown none such.
    """
    signs_from, _, rest = cursor.partition(".")
    created, _, kid = rest.partition(".")
    if not all(
        text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
        for text in (signs_from, created)
    ):
        raise InvalidArgumentError(
            "after", "this is no cursor", "give the 'next' of the page before, or nothing"
        )
    return int(signs_from), int(created), kid


def _retires_at_ms(key: SigningKey, published: Sequence[SigningKey]) -> int:
    """Return when the last token of a key has expired that another one follows."""
    successor = next(other for other in published if other.turn > key.turn)
    return successor.begins_at_ms + VERIFIES_ON_MS
