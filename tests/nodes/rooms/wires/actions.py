"""Public verbs of the wires room."""

from typing import Annotated

from msgspec import Meta

from moothall.action import WRITE, Context, Id, PerActor, Request, Result, Signed, Text, action

from .events import WordSent


class SendWord(Request):
    """A word, and the wires that it goes along."""

    wires: Annotated[list[Id], Meta(min_length=1, max_length=16)]
    word: Text = ""


class Sent(Result):
    """It went."""


@action(
    access=Signed("wires:use"),
    effect=WRITE,
    limit=PerActor(calls=1_000, window_ms=1_000),
    raises=(),
)
async def send_word(ctx: Context, request: SendWord) -> Sent:
    """Send a word along each of the wires."""
    for wire in request.wires:
        ctx.emit(f"wire/{wire}", WordSent(word=request.word))
    return Sent()
