"""The wiring: settings, discovery, composition, the life of the process, the program."""
