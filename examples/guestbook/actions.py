from moothall.action import WRITE, Context, PerActor, Request, Result, Signed, Text, action


class SignBook(Request):
    text: Text


class Signature(Result):
    number: int


@action(access=Signed("guestbook:sign"), effect=WRITE, limit=PerActor(5, 1_000), raises=())
async def sign_book(ctx: Context, request: SignBook) -> Signature:
    """Write a line into the guest book."""
    sql = "INSERT INTO guestbook_line (member_id, text) VALUES ($1, $2) RETURNING number"
    [row] = await ctx.tx.fetch_all(sql, ctx.actor, request.text)
    return Signature(number=row[0])
