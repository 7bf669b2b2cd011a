"""Facts of the hardware, and meters of memory and energy."""
