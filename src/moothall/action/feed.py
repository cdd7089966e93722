"""``@feed``: a view over streams that members may follow, declared in a room's ``feeds.py``.

A feed has a name with places for ids (``board/{board_id}``), a permission at a resource, and a
function that returns the streams behind it. One stream has one audience: who may follow
the feed may see every event of its streams whole.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace

from moothall.action.access import Signed, compile_path
from moothall.action.context import Context
from moothall.action.declare import room_of
from moothall.core.errors import DeclarationError
from moothall.core.names import near_matches
from moothall.core.paths import is_path, is_segment

STREAMS_MAX = 256
"""Streams that one feed may have for one reader."""

FEED_NAME_LENGTH_MAX = 200

FindStreams = Callable[..., Awaitable["list[str] | None"]]


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """A declared feed. Made by :func:`feed` only."""

    room: str
    template: str
    access: Signed
    path_of: Callable[[Mapping[str, str]], str]
    """Returns the path at which the permission must be held, from the ids of a name."""
    find_streams: FindStreams

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(self.find_streams) or "").partition("\n")[0]

    def match(self, name: str) -> dict[str, str] | None:
        """Return the ids in ``name``, or None if it is another feed's."""
        wanted, given = self.template.split("/"), name.split("/")
        if len(wanted) != len(given):
            return None
        ids: dict[str, str] = {}
        for want, got in zip(wanted, given, strict=True):
            if want.startswith("{"):
                if not is_segment(got):
                    return None
                ids[want[1:-1]] = got
            elif want != got:
                return None
        return ids


@dataclass(frozen=True, slots=True)
class OpenFeed:
    """A feed as one reader follows it: whose permission, at which place, over which streams."""

    name: str
    permission: str
    path: str
    streams: tuple[str, ...]


def feed(template: str, *, access: Signed) -> Callable[[FindStreams], Feed]:
    """Declare a feed.

    The function takes ``ctx`` and the ids of the template by name, runs on a snapshot, and
    returns the streams, or None where there is no such thing; it is asked only when the caller
    holds the permission.

    Args:
        template: Name with places, as in ``board/{board_id}``.
        access: A permission, at a path or at a template over the same ids.

    Raises:
        DeclarationError: A name, an id or the function is not of this form.
    """

    def declare(find_streams: FindStreams) -> Feed:
        told = f"feed {template!r}"
        room = room_of(told, find_streams.__module__, "feeds")
        segments = template.split("/")
        ids = [part[1:-1] for part in segments if part.startswith("{") and part.endswith("}")]
        plain = "/".join("x" if part.startswith("{") else part for part in segments)
        if not is_path(plain) or plain == "" or not all(name.isidentifier() for name in ids):
            msg = f"{told}: a name is segments joined by '/', some of them {{id}}"
            raise DeclarationError(msg)
        if not inspect.iscoroutinefunction(find_streams) or list(
            inspect.signature(find_streams).parameters
        ) != ["ctx", *ids]:
            msg = f"{told}: its function is 'async def' and takes ({', '.join(['ctx', *ids])})"
            raise DeclarationError(msg)
        if not isinstance(access.at, str):
            msg = f"{told}: its permission is asked from memory, so 'at' is a path or a template"
            raise DeclarationError(msg)
        return Feed(room, template, access, _compile(access.at, ids), find_streams)

    return declare


class FeedIndex:
    """The feeds of the rooms that are served."""

    def __init__(self, feeds: Iterable[Feed]) -> None:
        """Take the feeds.

        Raises:
            DeclarationError: Two of them could have one name.
        """
        self.feeds = tuple(feeds)
        shapes: dict[tuple[str, ...], Feed] = {}
        for each in self.feeds:
            shape = tuple("*" if s.startswith("{") else s for s in each.template.split("/"))
            if shape in shapes:
                msg = f"feeds {each.template!r} and {shapes[shape].template!r} have one name"
                raise DeclarationError(msg)
            shapes[shape] = each

    def find(self, name: str) -> tuple[Feed, dict[str, str]] | None:
        """Return the feed of that name and the ids in it, or None; the most literal one wins."""
        if len(name) > FEED_NAME_LENGTH_MAX:
            return None
        found = [(each, ids) for each in self.feeds if (ids := each.match(name)) is not None]
        return min(found, key=lambda pair: len(pair[1]), default=None)

    def near(self, name: str) -> list[str]:
        """Return templates of feeds that ``name``, which is no feed's, may have meant."""
        if self.find(name) is not None:
            return []
        first = {each.template.partition("/")[0]: each.template for each in self.feeds}
        found = near_matches(name.partition("/")[0], first)
        return [first[each] for each in found]

    async def open(self, ctx: Context, name: str) -> OpenFeed | None:
        """Return a feed as the caller may follow it, or None where there is no such thing.

        Raises:
            PermissionDeniedError: The permission is missing; also where there is no such thing,
                unless the caller holds the permission for the whole hall.
        """
        found = self.find(name)
        if found is None:
            return None
        each, ids = found
        path = each.path_of(ids)
        ctx.path = path
        ctx.demand(each.access.permission, path)
        streams = await each.find_streams(ctx, **ids)
        if streams is None:
            return None
        assert len(streams) <= STREAMS_MAX, f"feed {name} has {len(streams)} streams"
        return OpenFeed(name, each.access.permission, path, tuple(sorted(set(streams))))


def _compile(at: str, names: Iterable[str]) -> Callable[[Mapping[str, str]], str]:
    """Return the function that fills ``at``, which is compiled as an action's is."""
    path_of = compile_path(at, frozenset(names))

    def fill(ids: Mapping[str, str]) -> str:
        path = path_of(SimpleNamespace(**ids))
        assert path is not None, "ids of a matched name are segments"
        return path

    return fill
