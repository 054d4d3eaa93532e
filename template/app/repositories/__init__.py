"""How the tables are queried."""
