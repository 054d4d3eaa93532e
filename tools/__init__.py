"""Commands for those who use or develop the template."""
