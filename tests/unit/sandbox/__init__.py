"""Tests of the sandbox release: its programs are run, as they were built, on loopback."""
