"""A schedule or a policy for deployment: what it asks of a model, and how other tools run it."""
