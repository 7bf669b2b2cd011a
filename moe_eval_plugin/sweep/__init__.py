"""The sweep: the same questions at each k, one standard results file for each, and a manifest."""
