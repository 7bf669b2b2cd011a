"""What a paper or a model card takes from a report: tables, figures, a caption, citations."""
