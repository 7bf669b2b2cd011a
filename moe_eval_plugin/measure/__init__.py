"""Records of time and cost."""
