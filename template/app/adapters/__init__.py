"""Other services as this one sees them: each a module with a typed client."""
