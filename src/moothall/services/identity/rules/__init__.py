"""Decisions of the identity room, without I/O."""
