"""What both kinds of fighter share."""
