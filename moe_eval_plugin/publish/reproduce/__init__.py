"""Run the commands of a bundle again, and compare the numbers."""
