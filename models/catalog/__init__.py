"""The models this project knows: one file a family, one row a model, data only."""

ORDER = ("vit", "bit", "hybrid", "external")
