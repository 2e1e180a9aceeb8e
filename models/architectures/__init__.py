"""What the networks of this project are made of, as plain data: a file a family, and what they share."""
