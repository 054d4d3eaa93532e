"""What is measured, and not tested: `make bench`."""
