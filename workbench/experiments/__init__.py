"""Measurements: load, sweeps, comparisons."""
