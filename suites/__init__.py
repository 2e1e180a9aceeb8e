"""The protocols: what is asked of a model, and where the images come from."""

ORDER = ("vtab", "fewshot")  # as listed
