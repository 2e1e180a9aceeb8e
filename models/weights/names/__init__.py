"""The names that released weights have, beside ours: one file a family."""

ORDER = ("vit", "bit")
