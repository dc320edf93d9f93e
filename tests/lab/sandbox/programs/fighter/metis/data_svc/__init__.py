"""The data node."""
