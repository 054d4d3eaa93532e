"""Tests of the clients, against a server on loopback that answers as the real one has."""
