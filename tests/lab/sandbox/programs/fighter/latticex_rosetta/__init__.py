"""Stands in for Rosetta, which only the code of tasks would import."""
