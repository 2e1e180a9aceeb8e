"""The catalog: a file for each family, a row for each model, and checkpoints.csv, the table of released weights."""

ORDER = ("vit", "bit", "hybrid", "external")
