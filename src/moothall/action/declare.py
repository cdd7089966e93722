"""``@action``: a typed function becomes something that every door can serve.

Four facts have no default: who may, what it does to the data, how often, and
which errors. A fact that is left out is an error when the room is imported.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar, cast, get_args, get_origin, get_type_hints

import msgspec

from moothall.action.access import Public, Signed, compile_path
from moothall.action.context import Context
from moothall.action.decode import decode_request
from moothall.action.limiter import PerActor, PerSource
from moothall.action.model import Request, Result
from moothall.core.codes import Code
from moothall.core.errors import (
    FRAMEWORK_ERRORS,
    ActionError,
    DeclarationError,
    InternalError,
)
from moothall.core.names import command_words

Q = TypeVar("Q", bound=Request)
R = TypeVar("R")
_VERB_NOUN = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*\Z")
_COMMAND = re.compile(r"[a-z][a-z0-9-]* [a-z][a-z0-9-]*\Z")

Handler = Callable[[Context, Q], Awaitable[R]]


class Effect(StrEnum):
    """What an action does to the data, and so how it is run."""

    READ = "read"
    """On a snapshot; changes nothing."""
    WRITE = "write"
    """In one transaction; takes an idempotency key."""
    FLOW = "flow"
    """Without a transaction; opens short ones itself; each step must bear repeating."""


_EXAMPLES = {
    "access": 'access=Signed("notes:read"), or access=PUBLIC',
    "effect": "effect=READ, WRITE or FLOW",
    "limit": "limit=PerActor(5, 1_000), which is 5 calls in 1,000 ms",
    "raises": "raises=(), or the errors of errors.py that it raises",
}
"""How each of the four facts is written; told where one is missing."""

READ = Effect.READ
WRITE = Effect.WRITE
FLOW = Effect.FLOW


@dataclass(frozen=True, slots=True, eq=False)
class Action(Generic[Q, R]):
    """A declared action. Made by :func:`action` only."""

    room: str
    verb: str
    access: Public | Signed
    effect: Effect
    limit: PerActor | PerSource
    raises: tuple[type[ActionError], ...]
    handler: Handler[Q, R]
    request_type: type[Q]
    result_type: Any
    command: tuple[str, str]
    secret_reply: bool
    is_activity: bool
    is_protected: bool
    is_audited: bool
    name: str = ""
    path_of: Callable[[Any], str | None] = field(default=lambda _request: None)
    _decoder: msgspec.json.Decoder[Q] = field(default=cast("Any", None))
    _expected: tuple[type[ActionError], ...] = ()
    _result_class: type = object

    def __post_init__(self) -> None:
        """Prepare once what every call would otherwise compute."""
        put = object.__setattr__
        put(self, "name", f"{self.room}.{self.verb}")
        put(self, "_decoder", msgspec.json.Decoder(self.request_type))
        put(self, "_expected", FRAMEWORK_ERRORS + self.raises)
        put(self, "_result_class", get_origin(self.result_type) or self.result_type)
        if isinstance(self.access, Signed) and isinstance(self.access.at, str):
            fields = frozenset(self.request_type.__struct_fields__)
            put(self, "path_of", compile_path(self.access.at, fields))

    def lane_of(self, request: Q) -> str:
        """Return what a WRITE changes as ``Database.write`` asks it: the resource in the request.

        Empty where the request names none: the whole hall is nothing to wait for.
        """
        at = self.access.at if isinstance(self.access, Signed) else ""
        return (self.path_of(request) or "") if isinstance(at, str) and "{" in at else ""

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(self.handler) or "").partition("\n")[0]

    @property
    def description(self) -> str:
        """The whole docstring."""
        return inspect.getdoc(self.handler) or ""

    def decode(self, body: bytes | bytearray | memoryview) -> Q:
        """Return the request in ``body``; an empty body is an empty object.

        Raises:
            InvalidArgumentError: It is not JSON, or not of this form.
        """
        return decode_request(self._decoder, self.request_type, body or b"{}")

    async def run(self, ctx: Context, request: Q) -> R:
        """Run the handler, and hold it to what its declaration says.

        Raises:
            ActionError: One that the declaration names.
            InternalError: The handler raised another one, or returned something else.
        """
        try:
            result = await self.handler(ctx, request)
        except ActionError as error:
            if isinstance(error, self._expected):
                raise
            msg = f"{self.name} raised {error.name}, which its declaration does not list"
            raise InternalError(msg) from error
        if not isinstance(result, self._result_class):
            msg = (
                f"{self.name} returned {result!r:.100}, not the {self._result_class.__name__} "
                "that its declaration names"
            )
            raise InternalError(msg)
        return result


def action(  # noqa: PLR0913 - each is a fact of the declaration
    bare: object = None,
    /,
    *,
    access: Public | Signed | None = None,
    effect: Effect | None = None,
    limit: PerActor | PerSource | None = None,
    raises: tuple[type[ActionError], ...] | None = None,
    command: str | None = None,
    secret_reply: bool = False,
    is_activity: bool = True,
    is_protected: bool = False,
    is_audited: bool = True,
    room: str | None = None,
) -> Callable[[Handler[Q, R]], Action[Q, R]]:
    """Declare an action. The first four facts are required.

    Args:
        bare: Nothing: the facts are given by name. It takes the function of an ``@action``
            without parentheses, which lacks all four.
        access: ``PUBLIC``, or ``Signed("noun:verb", at="board/{board_id}")``.
        effect: ``READ``, ``WRITE`` or ``FLOW``.
        limit: ``PerActor(calls=30, window_ms=1_000)``, or ``PerSource`` for PUBLIC.
        raises: The room's errors that it may raise, in order of precedence.
        command: Noun and verb of the command, where those of the name read badly.
        secret_reply: The result holds a secret, so it is never kept for a repeated call.
        is_activity: Whether a call shows that a person is there (R13).
        is_protected: A READ of what not everybody may see: each one is audited (R24).
        is_audited: False for a FLOW that changes nothing but where a client stands; what
            its steps write, and refusals, are audited all the same.
        room: The room, outside a room's folder (as tests are).

    Raises:
        DeclarationError: A fact is missing or wrong.
    """
    facts = {"access": access, "effect": effect, "limit": limit, "raises": raises}

    def declare(handler: Handler[Q, R]) -> Action[Q, R]:
        name = f"{handler.__module__}.{handler.__qualname__}"
        _check_complete(name, facts)
        _check_facts(name, access, effect, limit, raises)
        if not is_audited and effect is not Effect.FLOW:
            msg = f"{name}: is_audited=False is for a FLOW; what changes data is audited"
            raise DeclarationError(msg)
        request_type, result_type = _types_of(name, handler)
        room_name = room or room_of(name, handler.__module__, "actions")
        words = _words_of(name, room_name, handler.__name__, command)
        try:
            return Action(
                room=room_name,
                verb=handler.__name__,
                access=cast("Public | Signed", access),
                effect=cast("Effect", effect),
                limit=cast("PerActor | PerSource", limit),
                raises=cast("tuple[type[ActionError], ...]", raises),
                handler=handler,
                request_type=request_type,
                result_type=result_type,
                command=words,
                secret_reply=secret_reply,
                is_activity=is_activity,
                is_protected=is_protected,
                is_audited=is_audited,
            )
        except (DeclarationError, NameError, TypeError) as error:
            # The last two come from msgspec: a field whose type it does not know.
            msg = f"{name}: {error}"
            raise DeclarationError(msg) from None

    if bare is not None:
        _check_complete(getattr(bare, "__qualname__", repr(bare)), facts)
        msg = f"@action takes its facts by name: access=..., not {bare!r}"
        raise DeclarationError(msg)
    return declare


def _check_complete(name: str, facts: Mapping[str, object]) -> None:
    """Refuse a declaration that lacks one of the four facts, and show how it is written."""
    if missing := [fact for fact, value in facts.items() if value is None]:
        shown = "; ".join(_EXAMPLES[fact] for fact in missing)
        msg = f"{name}: the declaration lacks {', '.join(missing)}; write {shown}"
        raise DeclarationError(msg)


def _words_of(name: str, room: str, verb_noun: str, command: str | None) -> tuple[str, str]:
    """Return noun and verb of the command; refuse names that the wire cannot carry."""
    if not _VERB_NOUN.match(verb_noun):
        msg = f"{name}: an action's name is verb_noun: lower-case letters, digits and '_'"
        raise DeclarationError(msg)
    if command is None:
        return command_words(room, verb_noun)
    if not _COMMAND.match(command):
        msg = (
            f"{name}: command must be a noun and a verb, each of lower-case letters, digits "
            f"and '-', as in 'score submit', not {command!r}"
        )
        raise DeclarationError(msg)
    noun, _, verb = command.partition(" ")
    return noun, verb


def _check_facts(name: str, access: object, effect: object, limit: object, raises: object) -> None:
    """Refuse facts of the wrong kind, and those that do not go together."""
    if not isinstance(access, Public | Signed):
        msg = f"{name}: access must be PUBLIC or Signed(...), not {access!r}"
        raise DeclarationError(msg)
    if not isinstance(effect, Effect):
        msg = (
            f"{name}: effect must be READ, WRITE or FLOW, not {effect!r}; "
            "import it from moothall.action"
        )
        raise DeclarationError(msg)
    if not isinstance(limit, PerActor | PerSource):
        msg = f"{name}: limit must be PerActor(...) or PerSource(...), not {limit!r}"
        raise DeclarationError(msg)
    if isinstance(access, Public) and not isinstance(limit, PerSource):
        msg = f"{name}: a PUBLIC action has no actor; its limit must be PerSource(...)"
        raise DeclarationError(msg)
    if not isinstance(raises, tuple):
        msg = f"{name}: raises must be a tuple of errors, as in (BoardClosedError,), not {raises!r}"
        raise DeclarationError(msg)
    for error in raises:
        if not (isinstance(error, type) and issubclass(error, ActionError)):
            msg = (
                f"{name}: raises lists {error!r}, which is no subclass of ActionError; declare "
                "your own in errors.py: class SoldOutError(ActionError), with a code"
            )
            raise DeclarationError(msg)
        if not isinstance(getattr(error, "code", None), Code):
            msg = (
                f"{name}: {error.__name__} lacks a code; write code = Code.NOT_FOUND, or another "
                "of the twelve (from moothall.action import Code)"
            )
            raise DeclarationError(msg)
        if error in FRAMEWORK_ERRORS:
            msg = f"{name}: any action may raise {error.__name__}; leave it out of raises"
            raise DeclarationError(msg)


def _types_of(name: str, handler: Callable[..., Any]) -> tuple[Any, Any]:
    """Return the types of request and result from the annotations."""
    if not inspect.iscoroutinefunction(handler):
        msg = f"{name}: an action is an 'async def' function"
        raise DeclarationError(msg)
    parameters = list(inspect.signature(handler).parameters)
    try:
        hints = get_type_hints(handler, include_extras=True)
    except NameError as error:
        msg = f"{name}: the annotation {error.name!r} cannot be resolved when the room starts"
        raise DeclarationError(msg) from error
    if len(parameters) != 2 or "return" not in hints or parameters[1] not in hints:  # noqa: PLR2004
        msg = f"{name}: an action takes (ctx, request: SomeRequest) and names its result type"
        raise DeclarationError(msg)
    request_type = hints[parameters[1]]
    if not (isinstance(request_type, type) and issubclass(request_type, Request)):
        msg = f"{name}: {request_type!r} must be a subclass of moothall.action.Request"
        raise DeclarationError(msg)
    return request_type, _checked_result(name, hints["return"])


def _checked_result(name: str, result_type: Any) -> Any:
    """Return what an action answers: an object of named fields, or a list of such objects."""
    answered = get_args(result_type)[0] if get_origin(result_type) is list else result_type
    plain = get_origin(answered) or answered
    if not (isinstance(plain, type) and issubclass(plain, Result)):
        shown = getattr(result_type, "__name__", result_type)
        msg = (
            f"{name}: it answers {shown}, which is no subclass of moothall.action.Result; "
            "declare one, with what it answers as its fields"
        )
        raise DeclarationError(msg)
    return result_type


def room_of(name: str, module: str, piece: str) -> str:
    """Return the folder in which the module ``piece`` stands.

    Raises:
        DeclarationError: It stands nowhere in this module's path.
    """
    parts = module.split(".")
    if piece not in parts[1:]:
        msg = f"{name}: {piece} are declared in a room's {piece}.py"
        raise DeclarationError(msg)
    return parts[len(parts) - 2 - parts[::-1].index(piece)]
