"""Sign-in through Google and GitHub, for whoever configures it."""
