"""Alembic's entry: runs the migrations on the connection handed over by `llmops_resources.migrate`."""

from alembic import context

from llmops_resources.database import Base
from llmops_resources.migrate import import_tables

import_tables()
connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
with context.begin_transaction():
    context.run_migrations()
