"""Honest load: arrival schedules, histograms, intervals. Pure."""
