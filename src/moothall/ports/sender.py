"""Sender: reaches a person at an address outside of the hall (e-mail, phone)."""

from typing import Protocol


class Sender(Protocol):
    """Sends short texts. One per kind of address; set up by the operator."""

    async def send(self, address: str, subject: str, text: str) -> None:
        """Hand one message over to whoever delivers it.

        Raises:
            UnavailableError: It cannot be handed over now; nothing was sent.
        """
        ...
