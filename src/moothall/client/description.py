"""What kind of server a hall is, read from its `/.well-known/moothall`. Pure.

The document comes from another machine: it says which tokens a server takes, and is no proof of
anything. Who compares it with what is known already stands in `cli/servers.py`.
"""

from typing import Annotated

import msgspec

from moothall.client.errors import HallUnreachableError
from moothall.client.exchange import Answer

PATH = "/.well-known/moothall"

_Name = Annotated[str, msgspec.Meta(max_length=512)]


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a hall says of itself.

    Attributes:
        issuer: Whose tokens it takes: their ``iss``.
        audience: For whom they must be: their ``aud``.
        is_issuer: It knows credentials and gives tokens itself.
        issuer_url: Where a resource server fetches keys.
        rooms: What is served.
        version: Of Moothall.
    """

    issuer: _Name
    audience: _Name
    is_issuer: bool
    issuer_url: _Name | None = None
    rooms: Annotated[list[_Name], msgspec.Meta(max_length=1_000)] = []
    version: _Name = ""


def read_description(answer: Answer) -> Description:
    """Return what a document says.

    Raises:
        HallUnreachableError: It is not understood, so no hall answers there.
    """
    try:
        return msgspec.json.decode(answer.body, type=Description)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HallUnreachableError(
            f"what answers there is no hall: its {PATH} is not understood ({error})",
            "check the address",
        ) from error
