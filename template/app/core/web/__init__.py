"""What every request passes on its way to the router, as pure ASGI."""
