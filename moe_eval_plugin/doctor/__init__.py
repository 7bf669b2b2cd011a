"""Checks of the installation and of this machine, with a fix for each fault."""
