"""Tests of the gateway, before real servers."""
