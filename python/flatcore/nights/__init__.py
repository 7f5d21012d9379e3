"""Many nights."""
