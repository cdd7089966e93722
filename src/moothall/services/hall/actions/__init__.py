"""Public verbs of the house itself."""
