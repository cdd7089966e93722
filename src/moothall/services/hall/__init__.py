"""The house itself: whether it is there."""

from moothall.action import Service

SERVICE = Service()
