"""The vocabulary every other floor speaks: codes, errors, ids, paths, names, units.

Standard library only and pure: no clock, no randomness, no input or output, so
that the client and the server can share it on every platform.
"""
