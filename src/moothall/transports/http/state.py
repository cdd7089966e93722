"""What the connection tells the application about a request, beside what its client sent.

It travels as ``state`` of the ASGI scope, which is there for this: the scope is all that uvicorn
hands from a connection to the application.
"""

from typing import NamedTuple


class RequestState(NamedTuple):
    """Where a request came from, and whether that was charged for it."""

    is_proxy: bool
    """Whether a trusted proxy sent it, so that its client is another."""
    is_charged: bool
    """Whether its source was charged already, by ``Backend.charge_source``."""


FROM_PROXY = RequestState(is_proxy=True, is_charged=False)
FROM_CLIENT = RequestState(is_proxy=False, is_charged=False)
CHARGED = RequestState(is_proxy=False, is_charged=True)
