"""Rows of the leaderboards room: boards, entries, and the ranking over them.

Locks are taken in this order, so that no two calls wait for each other in a circle: a board with
its current season, an entry, a proof, a comment; then what other rooms lock when they are called.

- The lock of a board (``boards.lock_board``) protects how it counts, its season, its ranking with
  all counts, which of its entries are verified, and its levels. Scores are submitted without it.
- The lock of an entry (``entries.lock_entry``) protects how many comments and proofs it has.
- Jobs that erase lock the board or the ranking in each step and look whether it is still to be
  erased: a node that was stopped in between must not erase what has come since.
"""
