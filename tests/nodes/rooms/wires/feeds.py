"""What can be followed: a wire, or two of them at once."""

from moothall.action import Context, Signed, feed


@feed("wire/{wire}", access=Signed("wires:use"))
async def wire(ctx: Context, wire: str) -> list[str]:
    """The words that go along a wire."""
    return [f"wire/{wire}"]


@feed("pair/{one}/{two}", access=Signed("wires:use"))
async def pair(ctx: Context, one: str, two: str) -> list[str]:
    """The words that go along two wires; a reader has one cursor for both."""
    return [f"wire/{one}", f"wire/{two}"]
