"""Version of the package and its date."""

VERSION = "0.1.0"
VERSION_DATE = "2026-11-23"
