"""Becoming the first administrator of a fresh hall."""

import hmac
from hashlib import sha256

from moothall.action import WRITE, Context, PerActor, Request, Secret, Signed, action
from moothall.core.paths import ROOT
from moothall.ports.claim import CLAIM_TOPIC, Claim
from moothall.services.access.actions.bindings import write_binding
from moothall.services.access.actions.subjects import get_permissions
from moothall.services.access.errors import AdministrationClaimedError, WrongSecretError
from moothall.services.access.model import ADMINISTRATOR, Binding
from moothall.services.access.store import claims


class ClaimAdministration(Request):
    """The one-time secret that the hall showed to its operator."""

    secret: Secret


@action(
    access=Signed("permissions:check_own"),
    effect=WRITE,
    limit=PerActor(calls=5, window_ms=60_000),
    raises=(AdministrationClaimedError, WrongSecretError),
)
async def claim_administration(ctx: Context, request: ClaimAdministration) -> Binding:
    """Become the first administrator of a fresh hall, by the secret its operator sees.

    Raises:
        AdministrationClaimedError: failed_precondition. Somebody was first.
        WrongSecretError: permission_denied. Look at what ``moothall serve`` printed.

    Emits:
        RoleGranted: once.
    """
    digest, claimed_by = await claims.get_claim(ctx.tx)
    if claimed_by is not None:
        raise AdministrationClaimedError
    if not hmac.compare_digest(digest_secret(request.secret), digest):
        raise WrongSecretError(remedy="give the one that `moothall serve` printed last")
    await claims.update_claim(ctx.tx, ctx.actor, ctx.now_ms)
    ctx.tx.on_commit(ctx.use(Claim).spend)
    await ctx.tx.tell_nodes(CLAIM_TOPIC, "spent")
    permissions = await get_permissions(ctx, ADMINISTRATOR)
    return await write_binding(ctx, ctx.actor, ADMINISTRATOR, permissions, ROOT)


def digest_secret(secret: str) -> str:
    """Return the digest under which the one-time secret is kept; it has 128 random bits."""
    return sha256(secret.strip().encode()).hexdigest()
