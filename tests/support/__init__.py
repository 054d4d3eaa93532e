"""What the tests share: reading, combining, rendering and running the template."""
