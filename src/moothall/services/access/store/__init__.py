"""Rows of the access room; what the program itself needs of them stands here."""

from moothall.services.access.store.claims import renew_claim

__all__ = ["renew_claim"]
