"""Devices, their ceilings, and meters of memory and energy."""
