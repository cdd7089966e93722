"""A declaration that lacks a fact, or has a wrong one, does not start."""

from typing import Any

import pytest

from moothall.action import (
    FLOW,
    PUBLIC,
    READ,
    WRITE,
    Context,
    Id,
    PerActor,
    PerSource,
    Request,
    Result,
    Signed,
    action,
)
from moothall.core.codes import Code
from moothall.core.errors import ActionError, DeclarationError, InvalidArgumentError


class ThingGoneError(ActionError):
    """The thing is gone."""

    code = Code.NOT_FOUND


class CodelessError(ActionError):
    """Nobody gave it a code."""


class WordError(ActionError):
    """Its code is a word."""

    code = "taken"  # type: ignore[assignment]  # the mistake


class DoThing(Request):
    thing_id: Id = "1"


class Done(Result):
    pass


async def do_thing(ctx: Context, request: DoThing) -> Done:
    """Do it.

    And more of it.
    """
    return Done()


def declare(handler: Any = do_thing, /, **facts: Any) -> Any:
    """Declare an action whose facts are right but for the given ones."""
    right = {
        "access": Signed("things:do"),
        "effect": WRITE,
        "limit": PerActor(calls=1, window_ms=1),
        "raises": (ThingGoneError,),
        "room": "things",
    }
    return action(**{**right, **facts})(handler)


def test_a_right_declaration_holds_what_the_doors_need() -> None:
    declared = declare(access=Signed("things:do", at="thing/{thing_id}"))
    assert declared.name == "things.do_thing"
    assert declared.command == ("thing", "do")
    assert declared.summary == "Do it."
    assert "And more of it." in declared.description
    assert declared.path_of(DoThing(thing_id="7")) == "thing/7"
    assert declared.decode(b"") == DoThing()


@pytest.mark.requirement("R40")
@pytest.mark.parametrize("fact", ["access", "effect", "limit", "raises"])
def test_a_missing_fact_is_named(fact: str) -> None:
    with pytest.raises(DeclarationError, match=rf"do_thing: the declaration lacks {fact};"):
        declare(**{fact: None})


@pytest.mark.requirement("R40")
def test_all_missing_facts_are_named_at_once_and_shown() -> None:
    with pytest.raises(DeclarationError, match="lacks access, effect, limit, raises") as refused:
        action(room="things")(do_thing)
    for example in ("access=PUBLIC", "effect=READ", "limit=PerActor(5, 1_000)", "raises=()"):
        assert example in str(refused.value)


@pytest.mark.requirement("R40")
def test_a_bare_decorator_lacks_all_facts() -> None:
    with pytest.raises(DeclarationError, match=r"do_thing: the declaration lacks access, effect"):
        action(do_thing)
    with pytest.raises(DeclarationError, match="takes its facts by name"):
        action(Signed("a:b"), effect=READ, limit=PerActor(1, 1), raises=(), access=PUBLIC)


@pytest.mark.requirement("R40")
@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"access": "things:do"}, "access must be PUBLIC or Signed"),
        ({"effect": "write"}, "not 'write'; import it from moothall.action"),
        ({"limit": 30}, "limit must be PerActor"),
        ({"raises": ThingGoneError}, "raises must be a tuple"),
        ({"raises": [ThingGoneError]}, "raises must be a tuple"),
        ({"raises": (ValueError,)}, "no subclass of ActionError; declare your own in errors.py"),
        ({"raises": (ThingGoneError(),)}, "no subclass of ActionError"),
        ({"raises": (CodelessError,)}, "CodelessError lacks a code"),
        ({"raises": (WordError,)}, "WordError lacks a code; write code = Code.NOT_FOUND"),
        ({"raises": (InvalidArgumentError,)}, "any action may raise InvalidArgumentError"),
        ({"access": PUBLIC}, "a PUBLIC action has no actor"),
        ({"command": "score"}, "a noun and a verb"),
        ({"command": "score submit now"}, "a noun and a verb"),
        ({"command": " submit"}, "a noun and a verb"),
        ({"command": "score "}, "a noun and a verb"),
        ({"command": "--help me"}, "a noun and a verb"),
        ({"command": "Score Submit"}, "a noun and a verb"),
        ({"access": Signed("a:b", at="thing/{thng_id}")}, "did you mean 'thing_id'"),
        ({"access": Signed("a:b", at="../thing")}, "path template"),
    ],
)
def test_a_wrong_fact_is_told_with_the_action(facts: dict[str, Any], told: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        declare(**facts)
    assert "do_thing: " in str(refused.value)
    assert told in str(refused.value)


def test_what_goes_together() -> None:
    source = PerSource(calls=1, window_ms=1)
    for facts in ({"access": PUBLIC, "limit": source}, {"limit": source}, {"effect": FLOW}):
        declare(**facts)
    assert declare(raises=(), effect=READ).raises == ()
    assert declare(command="thing-list make").command == ("thing-list", "make")


def not_async(ctx: Context, request: DoThing) -> Done:
    return Done()


async def without_request(ctx: Context) -> Done:
    return Done()


async def with_more(ctx: Context, request: DoThing, more: int) -> Done:
    return Done()


async def without_result(ctx: Context, request: DoThing):  # type: ignore[no-untyped-def]  # noqa: ANN201 - the mistake
    return Done()


async def without_type(ctx: Context, request) -> Done:  # type: ignore[no-untyped-def]  # noqa: ANN001 - the mistake
    return Done()


async def with_dict(ctx: Context, request: dict[str, Any]) -> Done:
    return Done()


async def with_result_as_request(ctx: Context, request: Done) -> Done:
    return Done()


async def answering_nothing(ctx: Context, request: DoThing) -> None:
    return None


async def answering_a_list(ctx: Context, request: DoThing) -> list[int]:
    return []


async def answering_a_request(ctx: Context, request: DoThing) -> DoThing:
    return request


async def with_unknown(ctx: Context, request: "Nowhere") -> Done:  # type: ignore[name-defined]  # noqa: F821 - the mistake
    return Done()


async def doThing(ctx: Context, request: DoThing) -> Done:  # noqa: N802 - the mistake
    return Done()


async def _hidden(ctx: Context, request: DoThing) -> Done:
    return Done()


async def zähle_auf(ctx: Context, request: DoThing) -> Done:  # noqa: PLC2401 - the mistake
    return Done()


class Unknowable(Request):
    what: "Nowhere"  # type: ignore[name-defined]  # noqa: F821 - the mistake


async def with_unknowable_field(ctx: Context, request: Unknowable) -> Done:
    return Done()


@pytest.mark.requirement("R40")
@pytest.mark.parametrize(
    ("handler", "told"),
    [
        (not_async, "an action is an 'async def' function"),
        (without_request, "takes (ctx, request: SomeRequest)"),
        (with_more, "takes (ctx, request: SomeRequest)"),
        (without_result, "names its result type"),
        (without_type, "takes (ctx, request: SomeRequest)"),
        (with_dict, "must be a subclass of moothall.action.Request"),
        (with_result_as_request, "must be a subclass of moothall.action.Request"),
        (answering_nothing, "answers NoneType, which is no subclass of moothall.action.Result"),
        (answering_a_list, "answers list, which is no subclass of moothall.action.Result"),
        (answering_a_request, "answers DoThing, which is no subclass"),
        (with_unknown, "'Nowhere' cannot be resolved"),
        (with_unknowable_field, "Nowhere"),
        (doThing, "an action's name is verb_noun"),
        (_hidden, "an action's name is verb_noun"),
        (zähle_auf, "an action's name is verb_noun"),
    ],
)
def test_a_wrong_function_is_told(handler: Any, told: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        declare(handler)
    assert f"{handler.__name__}: " in str(refused.value)
    assert told in str(refused.value)


def test_outside_a_rooms_actions_an_action_has_no_room() -> None:
    with pytest.raises(DeclarationError, match=r"declared in a room's actions\.py"):
        declare(room=None)
