"""The catalogue refuses rooms that do not fit together."""

import sys
from dataclasses import dataclass
from typing import Annotated, Any, Generic, NewType, TypedDict, TypeVar

import msgspec
import pytest

from moothall.action import (
    PUBLIC,
    READ,
    Context,
    PerActor,
    PerSource,
    Request,
    Result,
    Role,
    Service,
    Signed,
    action,
)
from moothall.action.catalog import COMMANDS_RESERVED, Catalog, Room
from moothall.core import errors as core_errors
from moothall.core.codes import Code
from moothall.core.errors import ActionError, DeclarationError, InvalidArgumentError

T = TypeVar("T")


class ThingGoneError(ActionError):
    """The thing is gone."""

    code = Code.NOT_FOUND


class Ask(Request):
    pass


class Done(Result):
    pass


async def do_thing(ctx: Context, request: Ask) -> Done:
    return Done()


async def do_things(ctx: Context, request: Ask) -> Done:
    return Done()


async def raise_directly(ctx: Context, request: Ask) -> Done:
    raise ThingGoneError("it is gone")


async def raise_class(ctx: Context, request: Ask) -> Done:
    raise ThingGoneError


THIS = sys.modules[__name__]


async def raise_of_module(ctx: Context, request: Ask) -> Done:
    raise THIS.ThingGoneError


async def raise_within(ctx: Context, request: Ask) -> Done:
    def refuse_it() -> Done:
        raise ThingGoneError

    return refuse_it()


async def catch(ctx: Context, request: Ask) -> Done:
    try:
        return await do_thing(ctx, request)
    except ThingGoneError:
        return Done()


async def raise_framework(ctx: Context, request: Ask) -> Done:
    if ctx.actor:
        raise core_errors.UnauthenticatedError
    raise InvalidArgumentError("f", "r")


def declare(handler: Any = do_thing, room: str = "things", **facts: Any) -> Any:
    right = {
        "access": PUBLIC,
        "effect": READ,
        "limit": PerSource(calls=1, window_ms=1),
        "raises": (),
    }
    return action(room=room, **{**right, **facts})(handler)


def make_room(*actions: Any, name: str = "things", **plate: Any) -> Room:
    return Room(name, Service(**plate), actions, errors=frozenset({ThingGoneError}))


def refuse(*rooms: Room) -> str:
    with pytest.raises(DeclarationError) as refused:
        Catalog(rooms)
    return str(refused.value)


def test_actions_are_found_by_wire_name() -> None:
    catalog = Catalog([make_room(declare(), declare(raise_class, raises=(ThingGoneError,)))])
    assert set(catalog.actions) == {"things.do_thing", "things.raise_class"}
    assert catalog.near("thing.do_thing")[0] == "things.do_thing"


@pytest.mark.requirement("R40")
def test_two_things_of_one_name_are_refused() -> None:
    assert "two rooms of the name 'things'" in refuse(make_room(), make_room())
    assert "two actions of the name 'things.do_thing'" in refuse(make_room(declare(), declare()))
    told = refuse(make_room(declare(), declare(do_things)))
    assert "things.do_things and things.do_thing would both be the command 'thing do'" in told


@pytest.mark.parametrize("word", sorted(COMMANDS_RESERVED))
def test_words_of_the_program_are_taken(word: str) -> None:
    assert f"{word!r} is taken" in refuse(make_room(declare(command=f"{word} now")))


def test_an_action_stands_in_its_own_room() -> None:
    assert "was found in room 'things'" in refuse(make_room(declare(room="other")))


@pytest.mark.requirement("R40")
def test_dependencies_are_served_and_make_no_circle() -> None:
    assert "depends on 'b', which is not served" in refuse(make_room(name="a", depends_on=("b",)))
    told = refuse(
        make_room(name="a", depends_on=("b",)),
        make_room(name="b", depends_on=("c",)),
        make_room(name="c", depends_on=("a",)),
    )
    assert "a -> b -> c -> a" in told
    assert "a -> a" in refuse(make_room(name="a", depends_on=("a",)))


class Lax(msgspec.Struct):
    pass


class LaxBox(msgspec.Struct, Generic[T], forbid_unknown_fields=False):
    inner: T


@dataclass
class LaxData:
    x: int


class LaxDict(TypedDict):
    x: int


LaxName = NewType("LaxName", Lax)


@pytest.mark.requirement("R40")
@pytest.mark.parametrize(
    "inner",
    [
        Lax,
        list[Lax],
        dict[str, list[Lax]],
        Lax | None,
        tuple[Annotated[Lax, msgspec.Meta(description="x")], ...],
        LaxBox[int],
        LaxData,
        list[LaxData],
        LaxDict,
        LaxName,
    ],
)
def test_an_object_that_lets_unknown_fields_pass_is_found_at_any_depth(inner: Any) -> None:
    kind = inner

    class Middle(Request):
        held: kind  # type: ignore[valid-type]  # a parameter of the test

    class Outer(Request):
        middle: list[Middle]

    async def ask(ctx: Context, request: Ask) -> Done:
        return Done()

    ask.__annotations__["request"] = Outer
    assert "must refuse unknown fields" in refuse(make_room(declare(ask)))


class Tree(Request):
    children: list["Tree"]


def test_a_request_may_hold_itself() -> None:
    async def grow(ctx: Context, request: Tree) -> Done:
        return Done()

    assert "things.grow" in Catalog([make_room(declare(grow))]).actions


@pytest.mark.requirement("R40")
def test_listed_errors_come_from_the_errors_of_a_room_within_reach() -> None:
    declared = declare(raises=(ThingGoneError,))
    stranger = Room("things", Service(), (declared,))
    assert "ThingGoneError is declared neither in the errors.py" in refuse(stranger)

    friend = Room("things", Service(depends_on=("other",)), (declared,))
    assert Catalog([friend, make_room(name="other")]).actions


@pytest.mark.requirement("R40")
@pytest.mark.parametrize("handler", [raise_directly, raise_class, raise_of_module, raise_within])
def test_a_raise_that_is_not_listed_is_seen_at_start(handler: Any) -> None:
    told = refuse(make_room(declare(handler)))
    assert "raises ThingGoneError but does not list it in raises=" in told


def test_an_error_that_is_only_caught_needs_no_listing() -> None:
    assert Catalog([make_room(declare(catch))]).actions


def test_framework_errors_need_no_listing() -> None:
    assert Catalog([make_room(declare(raise_framework))]).actions


def test_permissions_are_those_demanded_and_those_handed_out() -> None:
    limit = PerActor(calls=1, window_ms=1)
    room = make_room(
        declare(access=Signed("things:do"), limit=limit),
        member_permissions=("things:see",),
        roles=(Role("keeper", ("things:keep",)),),
    )
    assert Catalog([room]).permissions == {"things:do", "things:see", "things:keep"}
