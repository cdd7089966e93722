"""The passwords that everybody tries first."""

import asyncio


class CommonPasswords:
    """The 30,000 most common passwords (zxcvbn's list), in lower case.

    They are loaded when somebody first chooses a password, on a thread: the start of a hall
    need not wait for them.
    """

    def __init__(self) -> None:
        """Load nothing yet."""
        self._known: frozenset[str] | None = None

    async def has(self, password: str) -> bool:
        """Tell whether a password is among them, whatever its case."""
        if self._known is None:
            self._known = await asyncio.to_thread(_load)
        return password.casefold() in self._known


def _load() -> frozenset[str]:
    """Return the list."""
    # Late, because it takes about 40 ms and 5 MB.
    from zxcvbn.frequency_lists import (  # type: ignore[import-untyped] # noqa: PLC0415 - see above
        FREQUENCY_LISTS,
    )

    return frozenset(FREQUENCY_LISTS["passwords"])
