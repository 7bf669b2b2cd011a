"""What a report answers: the setting to recommend, and what was found, in sentences."""
