"""The catalogue refuses rooms that do not fit together."""

import sys
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, NewType, TypedDict, TypeVar

import msgspec
import pytest
from msgspec import Meta
from structlog.testing import capture_logs

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
    Slug,
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
    children: Annotated[list["Tree"], Meta(max_length=2)]


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
        permissions=("things:see", "things:keep"),
        member_permissions=("things:see",),
        roles=(Role("keeper", ("things:keep", "things:do")),),
    )
    assert Catalog([room]).permissions == {"things:do", "things:see", "things:keep"}


@pytest.mark.requirement("R40")
@pytest.mark.parametrize(
    ("plate", "told"),
    [
        (
            {"roles": (Role("keeper", ("things:do", "things:od")),)},
            "role 'keeper' holds 'things:od', which nothing demands; did you mean things:do?",
        ),
        (
            {"member_permissions": ("thing:do",)},
            "room 'things': member_permissions holds 'thing:do', which nothing demands",
        ),
        (
            {"needs": ("walls:paint",)},
            "if your code asks for it by ctx.may, name it in Service(permissions=...)",
        ),
    ],
)
def test_a_permission_that_nothing_demands_is_refused(plate: dict[str, Any], told: str) -> None:
    declared = declare(access=Signed("things:do"), limit=PerActor(calls=1, window_ms=1))
    assert told in refuse(make_room(declared, **plate))


def declare_field(kind: Any) -> Any:
    """Declare an action whose request has one field, of a type that is a parameter."""

    class Outer(Request):
        held: kind

    async def ask(ctx: Context, request: Ask) -> Done:
        return Done()

    ask.__annotations__["request"] = Outer
    return declare(ask)


@pytest.mark.requirement("R40")
@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (str, "Outer.held is text without a bound; use Text, Name, Slug, Id or Meta(max_length=)"),
        (str | None, "Outer.held is text without a bound"),
        (Annotated[str, Meta(pattern=r"^a+$")], "text without a bound"),
        (Annotated[str, Meta(pattern=r"^a{2,}$")], "text without a bound"),
        (Annotated[str, Meta(pattern=r"a{2}")], "text without a bound"),
        (bytes, "Outer.held is bytes without a bound; use Annotated[bytes, Meta(max_length=)]"),
        (list[Slug], "Outer.held is a list without a bound; use Annotated[list[...], "),
        (tuple[Slug, ...], "a list without a bound"),
        (Annotated[list[str], Meta(max_length=2)], "Outer.held is text without a bound"),
        (dict[Slug, Slug], "Outer.held is an object without a bound; use Annotated[dict[...], "),
        (Annotated[dict[str, Slug], Meta(max_length=2)], "Outer.held is text without a bound"),
        (int, "Outer.held is an integer without bounds; use SafeInteger or Meta(ge=, le=)"),
        (Annotated[int, Meta(ge=0)], "an integer without bounds"),
    ],
)
def test_what_a_client_could_make_as_large_as_it_likes_is_refused(kind: Any, told: str) -> None:
    assert told in refuse(make_room(declare_field(kind)))


@pytest.mark.parametrize(
    "kind",
    [
        Slug,
        Annotated[str, Meta(max_length=2)],
        Annotated[str, Meta(pattern=r"^[*+|]{1,2}\+\|(?!\n)$")],
        Annotated[bytes, Meta(max_length=2)],
        Annotated[list[Slug], Meta(max_length=2)],
        tuple[Slug, Slug],
        Annotated[dict[Slug, Slug], Meta(max_length=2)],
        Annotated[int, Meta(gt=0, lt=9)],
        Literal["a", "b"],
        float,
        bool,
    ],
)
def test_what_has_a_bound_is_served(kind: Any) -> None:
    assert Catalog([make_room(declare_field(kind))]).actions


def test_an_action_without_a_docstring_is_told() -> None:
    with capture_logs() as logs:
        Catalog([make_room(declare())])
    [said] = logs
    assert (said["event"], said["action"]) == ("action without a docstring", "things.do_thing")
