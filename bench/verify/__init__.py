"""Published accuracies measured again, and what to suspect where one differs."""
