"""Public verbs of the leaderboards room: boards, entries, ranks."""
