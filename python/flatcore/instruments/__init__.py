"""Packaged instrument profiles, one TOML file each."""
