"""The compute node."""
