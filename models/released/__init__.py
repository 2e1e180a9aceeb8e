"""The released weights: which file a tag means, and how it gets here."""
