"""What an operator can set for the doors, beside where they listen."""

from collections.abc import Mapping

from moothall.action.service import RoomSettings


class WebSettings(RoomSettings):
    """Table ``[web]``: which web pages may use the hall."""

    origins: tuple[str, ...] = ()
    """Origins whose pages browsers let call the hall, as ``https://app.example`` (scheme, host,
    and a port that is not the usual one); ``http`` on loopback only, and no ``*``."""


TABLES: Mapping[str, type[RoomSettings]] = {"web": WebSettings}
"""Tables of ``moothall.toml`` that this floor brings along."""
