"""What calls say besides e-mail addresses, where users belong to tenants and where not."""
