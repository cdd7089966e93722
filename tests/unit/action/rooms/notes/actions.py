"""Public verbs of the notes room."""

import asyncio
from typing import Annotated

from msgspec import Meta

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
    SafeInteger,
    Signed,
    Slug,
    Text,
    action,
)

from . import store
from .errors import NoteGoneError, NoteRefusedError
from .events import NotePut
from .model import DEEDS, Misdeed, Note

SECRET_TEXT = "what the bug knows"


class PutNote(Request):
    """A note, and what shall go wrong with it."""

    title: Slug
    shelf: Id = "hall"
    text: Text = ""
    misdeed: Misdeed = "none"


class OpenShelf(Request):
    """A shelf; the text 'rubbish' is against the rules."""

    shelf: Id
    text: Text = ""


class ShowNote(Request):
    """One note."""

    title: Slug


class Hello(Request):
    """Asks for nothing."""


class Greeting(Result):
    """Who was greeted."""

    actor: str


class MintSecret(Request):
    """Asks for nothing."""


class Minted(Result):
    """A secret."""

    secret: str


class SendNote(Request):
    """A note that goes out in steps."""

    title: Slug
    wait_ms: Annotated[int, Meta(ge=0, le=60_000)] = 0
    misdeed: Misdeed = "none"


class WeighNotes(Request):
    """Weights by name: an object within the request."""

    weights: Annotated[dict[Text, SafeInteger], Meta(max_length=1_000)]


@action(
    access=Signed("notes:keep"),
    effect=WRITE,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(NoteRefusedError,),
)
async def put_note(ctx: Context, request: PutNote) -> Note:
    """Put a note on a shelf."""
    await store.insert_note(ctx.tx, request.title, request.shelf, request.text)
    ctx.emit(f"shelf/{request.shelf}", NotePut(title=request.title))
    ctx.tx.on_commit(lambda: DEEDS.append(f"committed {request.title}"))
    await _do(request.misdeed)
    note = Note(title=request.title, shelf=request.shelf, text=request.text)
    if request.misdeed == "huge":
        note = Note(title=request.title, shelf=request.shelf, text="x" * 300_000)
    if request.misdeed == "unencodable":
        note = Note(title=request.title, shelf=request.shelf, text=object())  # type: ignore[arg-type]
    if request.misdeed == "forgotten":
        return None  # type: ignore[return-value]
    return note


@action(
    access=Signed("shelves:open", at="shelf/{shelf}"),
    effect=WRITE,
    limit=PerActor(calls=3, window_ms=60_000),
    raises=(NoteRefusedError,),
)
async def open_shelf(ctx: Context, request: OpenShelf) -> Note:
    """Open a shelf."""
    if request.text == "rubbish":
        raise NoteRefusedError
    return Note(title="", shelf=request.shelf, text=str(ctx.now_ms))


@action(
    access=Signed("notes:read", at=store.find_note_path),
    effect=READ,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(NoteGoneError,),
)
async def show_note(ctx: Context, request: ShowNote) -> Note:
    """Show a note; hidden and absent ones look alike."""
    path = await store.find_note_path(ctx, request)
    if path is None:
        raise NoteGoneError
    return Note(title=request.title, shelf=path.removeprefix("shelf/"))


@action(
    access=PUBLIC,
    effect=READ,
    limit=PerSource(calls=2, window_ms=1_000),
    raises=(),
    command="stranger greet",
)
async def hello(ctx: Context, request: Hello) -> Greeting:
    """Greet anybody."""
    return Greeting(actor=ctx.actor)


@action(
    access=Signed("notes:keep"),
    effect=READ,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(),
)
async def read_badly(ctx: Context, request: PutNote) -> Note:
    """Try to write in a READ."""
    await store.insert_note(ctx.tx, request.title, request.shelf, request.text)
    return Note(title=request.title, shelf=request.shelf)


@action(
    access=Signed("notes:keep"),
    effect=WRITE,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(),
    secret_reply=True,
)
async def mint_secret(ctx: Context, request: MintSecret) -> Minted:
    """Make a secret that is told once."""
    await store.insert_note(ctx.tx, ctx.new_id(), "secrets", "")
    return Minted(secret="s3cret")


@action(
    access=Signed("notes:keep"),
    effect=WRITE,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(),
)
async def weigh_notes(ctx: Context, request: WeighNotes) -> Note:
    """Add up weights."""
    DEEDS.append("weighed")
    return Note(title=str(sum(request.weights.values())), shelf="", text=ctx.new_id())


@action(
    access=Signed("notes:keep"),
    effect=FLOW,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(NoteRefusedError,),
)
async def send_note(ctx: Context, request: SendNote) -> Note:
    """Write a note in one step and answer in another."""

    async def insert(step: Context) -> None:
        await store.insert_note(step.tx, request.title, "sent", "")
        step.emit("shelf/sent", NotePut(title=request.title))
        await _do(request.misdeed)

    await ctx.write(insert)
    await asyncio.sleep(request.wait_ms / 1_000)
    path = await ctx.read(lambda step: store.find_note_path(step, request))
    return Note(title=request.title, shelf=path or "")


@action(
    access=Signed("notes:read", at=store.find_note_path),
    effect=FLOW,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(),
)
async def recite_note(ctx: Context, request: ShowNote) -> Note:
    """Take time over a note; hidden and absent ones look alike."""
    await asyncio.sleep(0)
    return Note(title=request.title, shelf=ctx.path)


async def _do(misdeed: Misdeed) -> None:
    """Do what must not be done."""
    if misdeed == "refuse":
        raise NoteRefusedError("the reason", shelf="full")
    if misdeed == "crash":
        raise ValueError(SECRET_TEXT)
    if misdeed == "sleep":
        await asyncio.sleep(0.01)
    if misdeed == "unlisted_below":
        store.lose()
