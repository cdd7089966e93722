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

        def method(*values: object, **request: Any) -> Awaitable[Any]:
            refuse_positional(f"{self._name}.{verb_noun}", values)
            return self._hall.call(f"{self._name}.{verb_noun}", request)

        return method


def refuse_positional(action: str, values: tuple[object, ...]) -> None:
    """Refuse values without the names of their fields: fields have no order on the wire.

    Raises:
        TypeError: There are some.
    """
    if values:
        verb_noun = action.partition(".")[2]
        msg = f"{action}: name the fields, as in {verb_noun}(field=...), not {values[0]!r}"
        raise TypeError(msg)
