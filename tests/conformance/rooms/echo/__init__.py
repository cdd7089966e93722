"""A room that says again what it was told, for tests of what a door makes of a text."""

from moothall.action import Service

SERVICE = Service()
