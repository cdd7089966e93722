"""Rows of the leaderboards room: boards, entries, and the ranking over them."""
