"""Users' own models: a builder in a Python file, or a module from Python."""
