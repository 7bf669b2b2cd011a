"""What is added to an evaluation by the host: rows, records, and a cache that knows k."""
