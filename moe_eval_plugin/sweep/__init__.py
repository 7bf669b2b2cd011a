"""The sweep: the same questions at each k, a results file for each, and a manifest."""
