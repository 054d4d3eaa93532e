"""Reports of what nobody expected, to Sentry or what speaks its protocol."""
