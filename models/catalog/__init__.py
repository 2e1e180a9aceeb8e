"""The catalog: a file for each family, a row for each model."""

ORDER = ("vit", "bit", "hybrid", "external")
