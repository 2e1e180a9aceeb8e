"""The models this project knows: one file a family, one row a model, data only; and the released files of weights."""

ORDER = ("vit", "bit", "hybrid")
