"""Stands in for the channel SDK, which upstream no longer offers; the fighters only import it."""
