"""Where values and locks are kept."""
