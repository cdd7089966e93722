"""Senders: how a hall reaches people outside of it. Each implements the port ``Sender``.

A message goes by SMTP or through a program of the operator's. Nothing here keeps or repeats a
message: who asked for it learns that it was not sent, and asks again.
"""

from collections.abc import Mapping
from typing import TypeVar

from moothall.action.service import RoomSettings
from moothall.core.errors import ConfigurationError
from moothall.ports.sender import Sender
from moothall.senders.command import CommandSender
from moothall.senders.settings import MailSettings, PhoneSettings
from moothall.senders.smtp import SmtpSender

__all__ = ["TABLES", "MailSettings", "PhoneSettings", "build_senders"]

S = TypeVar("S", bound=RoomSettings)

TABLES: Mapping[str, type[RoomSettings]] = {"mail": MailSettings, "phone": PhoneSettings}
"""Tables of ``moothall.toml`` that this floor brings along."""


def build_senders(settings: Mapping[type, RoomSettings]) -> dict[str, Sender]:
    """Return the senders that are set up, by kind of address: ``email``, ``phone``.

    Args:
        settings: What was set, with at least the types of :data:`TABLES`.

    Raises:
        ConfigurationError: Settings contradict each other, or a file cannot be read.
    """
    mail, phone = _settings_of(settings, MailSettings), _settings_of(settings, PhoneSettings)
    senders: dict[str, Sender] = {}
    if mail.host and mail.command:
        msg = "settings: mail.host and mail.command are two ways to send; give one of them"
        raise ConfigurationError(msg)
    if mail.host:
        senders["email"] = SmtpSender(mail)
    elif mail.command:
        senders["email"] = CommandSender(mail.command, mail.timeout_ms)
    if phone.command:
        senders["phone"] = CommandSender(phone.command, phone.timeout_ms)
    return senders


def _settings_of(settings: Mapping[type, RoomSettings], kind: type[S]) -> S:
    found = settings[kind]
    assert isinstance(found, kind)
    return found
