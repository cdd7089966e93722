"""The actions of a room as methods, for programs."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moothall.client.hall import Hall


class Room:
    """The actions of one room as methods: ``hall.leaderboards.get_rank(board_id="7")``."""

    def __init__(self, hall: "Hall", name: str) -> None:
        self._hall = hall
        self._name = name

    def __getattr__(self, verb_noun: str) -> Callable[..., Awaitable[Any]]:
        if verb_noun.startswith("_"):
            raise AttributeError(verb_noun)

        def method(**request: Any) -> Awaitable[Any]:
            return self._hall.call(f"{self._name}.{verb_noun}", request)

        return method
