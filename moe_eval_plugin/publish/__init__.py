"""Publish a finished run: exports, bundles, reproduction."""
