"""Comparing two sets of records: matching cells, differences with their intervals and tests, and their tables."""
