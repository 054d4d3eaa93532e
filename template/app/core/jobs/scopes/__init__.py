"""Whose jobs they are."""
