"""What every engine raises when a call breaks the rules of a transaction.

These are faults of an action's author, not expected failures: they answer ``internal``.
"""


class SuspendedError(RuntimeError):
    """A READ or WRITE awaited something else than its transaction; the message names the line."""


class TransactionEndedError(RuntimeError):
    """A transaction was used after its call was over."""
