"""The first screen of the page: for each series the answer, the main chart and a short table."""
