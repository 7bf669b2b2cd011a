"""What releases of transformers renamed and removed."""
