"""Traces, sent to an OpenTelemetry collector (OTLP over HTTP)."""
