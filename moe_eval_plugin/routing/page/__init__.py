"""One HTML page for the routing of a model."""
