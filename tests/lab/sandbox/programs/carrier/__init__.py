"""Stands in for carrier 0.3.0, which upstream no longer offers: the same contract, no business."""
