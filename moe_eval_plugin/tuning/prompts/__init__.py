"""Draw calibration questions, and put their prompts together with the model's answers."""
