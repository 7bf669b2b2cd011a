"""Record the choices of every router while a model answers tasks."""
