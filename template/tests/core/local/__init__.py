"""Tests of the service's own sign-in."""
