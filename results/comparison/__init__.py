"""How two sets of records compare: matched rows, differences with their intervals, and how they are told."""
