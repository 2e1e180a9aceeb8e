"""What the words model=, task= and weights= of a command select, and the rows that a user brings."""
