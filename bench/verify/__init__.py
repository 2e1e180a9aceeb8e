"""Measures published accuracies again, and looks for the reason where one differs."""
