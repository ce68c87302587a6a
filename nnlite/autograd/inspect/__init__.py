"""What a graph looks like: summary, draw, flat code."""
