"""The tables: every module here is found by itself, also by Alembic."""
