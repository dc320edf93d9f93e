"""Stands in for fighter 0.3.0, which upstream no longer offers: the same contract, no tasks."""
