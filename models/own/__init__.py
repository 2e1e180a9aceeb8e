"""Models of a user's own: from a file, a module, or handed over in Python."""
