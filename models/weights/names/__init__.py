"""The names in released weights beside ours, official and timm's: a file for each family."""

ORDER = ("vit", "bit")
