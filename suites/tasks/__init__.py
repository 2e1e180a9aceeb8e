"""One task a row: a labelled question about a set of images."""

ORDER = ("natural", "specialized", "structured", "transfer", "miniature")  # the order of the VTAB paper
