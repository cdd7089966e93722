"""Pure decisions of the access room."""
