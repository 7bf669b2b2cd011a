"""The models that a bench measures: loaded or built, with their sizes."""
