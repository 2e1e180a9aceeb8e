"""The classes of released heads, and their order."""
