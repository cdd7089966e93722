"""What a door needs of the house: one thing to hand on, and the actions that doors call."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from moothall.action.call import Call, Reply
from moothall.action.connections import Connections
from moothall.action.push import Push
from moothall.ports.clock import Clock

AUTHENTICATE = "identity.authenticate"
SUBSCRIBE = "feeds.subscribe"
GET_UPLOAD = "files.get_upload"
PUT_CHUNK = "files.put_chunk"
GET_FILE = "files.get_file"
GET_CHUNK = "files.get_chunk"

CONNECTION_ACTIONS = frozenset({AUTHENTICATE, SUBSCRIBE})
"""What doors call for a client whose connection stays; every hall must serve them."""

FILE_ACTIONS = frozenset({GET_UPLOAD, PUT_CHUNK, GET_FILE, GET_CHUNK})
"""What the HTTPS door calls for whole files, where the room ``files`` is served."""


@dataclass(frozen=True, slots=True)
class Backend:
    """The house, seen from a door.

    Attributes:
        answer: The pipeline; it never raises.
        connections: Where each connection is opened and forgotten.
        clock: ``heard_at`` of a connection reads its steady side.
        cursor_of: Returns the cursor that goes with an event, by which clients resume.
        make_request_id: Names what does not reach the pipeline.
        charge_source: Charges a source for one call and returns in how many seconds it may begin;
            raises RateLimitedError where that is too far off.
    """

    answer: Callable[[Call], Awaitable[Reply]]
    connections: Connections
    clock: Clock
    cursor_of: Callable[[Push], str]
    make_request_id: Callable[[], str]
    charge_source: Callable[[str], float] = lambda _source: 0.0
