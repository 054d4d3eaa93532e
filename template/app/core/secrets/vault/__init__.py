"""Secrets in HashiCorp Vault."""
