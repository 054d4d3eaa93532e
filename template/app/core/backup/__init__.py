"""Saving every database of the service to files, and restoring them: `make backup`, `make restore`.

One module for each kind of server does it with the server's own programs; `flavour` names it.
"""
