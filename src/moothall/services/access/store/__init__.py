"""Rows of the access room; what the program itself needs of them stands here."""

from moothall.services.access.store.claims import is_claimed, renew_claim, share_claim

__all__ = ["is_claimed", "renew_claim", "share_claim"]
