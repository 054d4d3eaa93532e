"""The template's own tests: what it renders, and what that does when it runs."""
