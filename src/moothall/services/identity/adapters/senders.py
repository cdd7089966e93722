"""The ways to reach a person outside of the hall, as the operator set them up."""

from collections.abc import Mapping

import structlog

from moothall.core.errors import ConfigurationError
from moothall.ports.sender import Sender, SenderUnavailableError
from moothall.services.identity.errors import MessageNotSentError
from moothall.services.identity.model import RegistrationSettings

_log = structlog.get_logger("moothall.identity")


class Senders:
    """Senders by kind of address: ``email``, ``phone``."""

    def __init__(self, senders: Mapping[str, Sender]) -> None:
        """Offer ``senders``; a hall may have none."""
        self._senders = dict(senders)

    def of(self, kind: str) -> Sender | None:
        """Return the sender for addresses of ``kind``, or None where there is none."""
        return self._senders.get(kind)

    def kinds(self) -> list[str]:
        """Return the kinds of address that can be reached, in order."""
        return sorted(self._senders)

    async def send(self, kind: str, address: str, subject: str, text: str) -> None:
        """Send one message; never inside of a transaction.

        Raises:
            MessageNotSentError: unavailable. There is no way to such addresses, or it is out
                of order; the log says why.
        """
        sender = self.of(kind)
        if sender is None:
            raise MessageNotSentError(f"this hall sends nothing by {kind}")
        try:
            await sender.send(address, subject, text)
        except SenderUnavailableError as error:
            _log.warning("message not sent", kind=kind, error=str(error))
            raise MessageNotSentError(remedy="try again later") from None


def check_senders(settings: RegistrationSettings, senders: Mapping[str, Sender]) -> None:
    """Refuse to open a hall that demands what it cannot verify.

    Raises:
        ConfigurationError: The mode is ``contact`` and nothing can be sent.
    """
    if settings.mode == "contact" and not senders:
        msg = (
            "registration.mode is 'contact', but the hall cannot send anything; set up [mail] "
            "(host, or command) or [phone] (command), or choose another mode"
        )
        raise ConfigurationError(msg)
