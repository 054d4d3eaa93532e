"""Sign-in by the service itself: users with passwords in its own database."""
