"""k as data: requested, allowed, observed and verified; no torch."""
