"""The sandbox release: stands in for the programs that upstream no longer offers."""
