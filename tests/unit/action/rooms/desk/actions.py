"""Public verbs of the desk."""

from typing import Literal

# The other room is imported as its visitors do it: by its name.
from notes.actions import (  # type: ignore[import-not-found]  # found when the room is served
    OpenShelf,
    PutNote,
    open_shelf,
    put_note,
    send_note,
)
from notes.errors import (  # type: ignore[import-not-found]  # found when the room is served
    NoteRefusedError,
)

from moothall.action import (
    WRITE,
    Context,
    Name,
    PerActor,
    Request,
    Result,
    Signed,
    Text,
    action,
)
from moothall.core.errors import ActionError

from .events import NoteRelayed

Plan = Literal["plain", "go_on", "twice", "no_permission", "flow", "not_needed", "raise_after"]


class RelayNote(Request):
    """A note for the other room."""

    title: Text
    misdeed: Name = "none"
    plan: Plan = "plain"


class Relayed(Result):
    """What came of it."""

    title: str
    refused: str = ""


@action(
    access=Signed("desk:relay"),
    effect=WRITE,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(NoteRefusedError,),
)
async def relay_note(ctx: Context, request: RelayNote) -> Relayed:
    """Hand a note on."""
    ctx.emit("desk", NoteRelayed(title=request.title))
    note = PutNote(title=request.title, misdeed=request.misdeed)
    refused = ""
    if request.plan == "go_on":
        try:
            await ctx.call(put_note, note)
        except ActionError as error:
            refused = error.name
    elif request.plan == "no_permission":
        await ctx.call(open_shelf, OpenShelf(shelf="a"))
    elif request.plan == "flow":
        await ctx.call(send_note, note)
    elif request.plan == "not_needed":
        # The desk depends on the notes, not on itself.
        await ctx.call(relay_note, request)
    else:
        await ctx.call(put_note, note)
    if request.plan == "twice":
        await ctx.call(put_note, PutNote(title=request.title + "-2", misdeed=request.misdeed))
    if request.plan == "raise_after":
        raise NoteRefusedError
    return Relayed(title=request.title, refused=refused)
