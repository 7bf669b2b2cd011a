"""What the harnesses have in common: their commands, and the tasks that they define."""
