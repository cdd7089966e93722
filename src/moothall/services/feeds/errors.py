"""Expected failures of the feeds room."""

from moothall.core.codes import Code
from moothall.core.errors import ActionError


class FeedNotFoundError(ActionError):
    """There is no such feed."""

    code = Code.NOT_FOUND


class CursorExpiredError(ActionError):
    """What lies after this cursor cannot be told any more; fetch anew."""

    code = Code.FAILED_PRECONDITION


class TooManyFeedsError(ActionError):
    """This connection follows as many feeds as it may."""

    code = Code.RESOURCE_EXHAUSTED
