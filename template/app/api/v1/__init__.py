"""Version 1 of the API: every module here defines `router` and is found by itself."""
