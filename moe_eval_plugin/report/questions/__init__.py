"""Questions whose answers changed, with their images."""
