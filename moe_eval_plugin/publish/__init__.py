"""A finished run for others: exports, bundles, reproduction."""
