"""Curated units in the forms that analyses read."""
