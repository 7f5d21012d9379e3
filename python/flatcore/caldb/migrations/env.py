"""What Alembic runs: the migrations, on the connection and within the transaction of flatcore.caldb.migrate."""

from alembic import context

from flatcore.caldb import schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.METADATA,
    version_table=schema.VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
