"""Tokens for tests, from a real issuer of the service's provider."""
