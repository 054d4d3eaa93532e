"""The way to other services: `/services/NAME/…` is asked of the upstream of that name."""
