"""What a fighter serves."""
