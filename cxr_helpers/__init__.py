"""Helpers that the four notebooks import. One file a room; see README.md for the map."""
