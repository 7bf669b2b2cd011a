"""The page of a report: its template, styles and scripts, and the program that fills it in."""
