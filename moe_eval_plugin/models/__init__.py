"""What can be known of a model before it runs."""
