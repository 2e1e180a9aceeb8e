"""Released weights: the table of files and their tags, and their download."""
