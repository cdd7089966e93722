"""Moothall: a house for a community, as a Python backend that pip installs.

People, roles, files, leaderboards and feeds of events in one process on SQLite. The floors, from
the ground up: `core` (vocabulary), `ports` (protocols), `action` (the framework), `services`,
`transports`, `storage` and `senders` (rooms, doors and what they stand on), `app` (the wiring) and
`testing` (the kit for tests of rooms). `client` stands beside the house and shares only `core`
with it.

Importing this package imports nothing else: whoever needs the client does not pay for the server.
"""

__version__ = "0.1.0.dev0"
