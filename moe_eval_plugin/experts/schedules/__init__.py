"""What is requested of the experts: a schedule of k, a rule that drops experts, their files."""
