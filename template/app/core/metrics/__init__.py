"""Figures about the service for Prometheus: `GET /metrics`, also of several processes together."""
