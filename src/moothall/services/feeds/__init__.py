"""Feeds: following what happens, resuming after a break, saying how far one has read.

What there is to follow is declared by the rooms (``feeds.py``); this room only opens it.
"""

from moothall.action import Service
from moothall.services.feeds.model import EventSettings

SERVICE = Service(member_permissions=("feeds:own",), settings={"events": EventSettings})
