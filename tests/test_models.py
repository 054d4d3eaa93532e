"""However a service writes its models, its tables and so its migrations are the same."""

from pathlib import Path

import pytest

from tests.support.answers import Resolver
from tests.support.render import Renderer
from tests.support.runs import python
from tests.support.template import Template

TEMPLATE = Template()
RENDERER = Renderer(TEMPLATE)

STATEMENTS = """
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from app.core.database.layout import DATABASES
from app.core.discovery import import_submodules

import_submodules("app.models")
for dialect in (mysql.dialect(), postgresql.dialect(), sqlite.dialect()):
    for database in DATABASES:
        for table in database.metadata.sorted_tables:
            print(CreateTable(table).compile(dialect=dialect))
            for index in sorted(table.indexes, key=lambda index: index.name):
                print(CreateIndex(index).compile(dialect=dialect))
"""


@pytest.mark.parametrize("databases", TEMPLATE.questions["databases"].choices)
def test_tables_are_the_same(databases: str, tmp_path: Path) -> None:
    statements = {}
    for style in TEMPLATE.questions["models"].choices:
        answers = Resolver(TEMPLATE).resolve({"databases": databases, "models": style})
        directory = RENDERER.write(RENDERER.tree(answers), tmp_path / style)
        statements[style] = python(directory, "-c", STATEMENTS)
    expected = statements["sqlalchemy"]
    assert all(f"CREATE TABLE {name} " in expected for name in ("documents", "projects"))
    assert statements == dict.fromkeys(statements, expected)
