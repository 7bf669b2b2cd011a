"""What routers choose: traces of real prompts, their statistics, and a page."""
