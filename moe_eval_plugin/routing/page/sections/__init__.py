"""Sections of the page: what each table of a study shows."""
