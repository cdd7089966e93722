"""Sender: reaches a person at an address outside of the hall (e-mail, phone)."""

from typing import Protocol

from moothall.core.errors import MoothallError


class SenderUnavailableError(MoothallError):
    """A message cannot be handed over now; it says why to the operator, not to the caller."""


class Sender(Protocol):
    """Sends short texts. One per kind of address; set up by the operator."""

    async def send(self, address: str, subject: str, text: str) -> None:
        """Hand one message over to whoever delivers it.

        Raises:
            SenderUnavailableError: It cannot be handed over now; nothing is known to be sent.
        """
        ...
