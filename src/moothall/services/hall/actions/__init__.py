"""Public verbs of the house itself."""

from moothall.services.hall.actions.liveness import Ping, Pong, ping

__all__ = ["Ping", "Pong", "ping"]
