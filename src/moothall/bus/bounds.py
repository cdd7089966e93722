"""Bounds of every bus, and which names it takes."""

import re

from moothall.core.errors import ConfigurationError

PAYLOAD_BYTES_MAX = 64 * 1024
WAITING_BYTES_MAX = 1024 * 1024
"""What may wait to be sent, or in memory to be delivered; more is dropped."""

CONNECT_SECONDS_MAX = 2
RETRY_SECONDS = (0.5, 1.5)
"""Between two tries to connect; drawn anew each time, so that nodes do not come together."""
PING_SECONDS = 2
"""A connection on which two pings in a row were not answered is dead: noticed after 2 to 4 s."""
CLOSE_SECONDS_MAX = 1
"""For the end of a connection."""

# No dot: the topics of a hall called "a" would include those of a hall called "a.b".
_HALL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TOPIC = re.compile(r"(?=.{1,64}\Z)[a-z0-9_-]+(\.[a-z0-9_-]+)*")


def check_hall_id(hall_id: str) -> None:
    """Refuse a hall's id that cannot be part of a subject.

    Raises:
        ConfigurationError: It is none.
    """
    if not _HALL_ID.fullmatch(hall_id):
        msg = (
            f"bus: the hall's id {hall_id!r} cannot be used; it has 1 to 64 letters of ASCII, "
            "digits, '_' and '-'"
        )
        raise ConfigurationError(msg)


def check_topic(topic: str) -> None:
    """Refuse what is no topic.

    Raises:
        ValueError: It is none.
    """
    if not _TOPIC.fullmatch(topic):
        msg = f"topic {topic!r}: give words of a-z 0-9 _ - joined by dots, 64 characters at most"
        raise ValueError(msg)


def check_payload(payload: bytes) -> None:
    """Refuse a payload that is too long.

    Raises:
        ValueError: It is.
    """
    if len(payload) > PAYLOAD_BYTES_MAX:
        msg = (
            f"payload of {len(payload)} bytes: {PAYLOAD_BYTES_MAX} at most; publish a hint and "
            "let the others read the rest in the database"
        )
        raise ValueError(msg)
