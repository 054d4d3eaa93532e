"""The port by which code carries on the trace that it belongs to; see `app.core.traces.trace`."""
