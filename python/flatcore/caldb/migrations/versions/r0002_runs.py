"""The table of runs."""

import sqlalchemy as sql
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "runs",
        sql.Column("id", sql.Integer, primary_key=True, autoincrement=True),
        sql.Column("pid", sql.Text, nullable=False, unique=True),
        sql.Column("obs_dir", sql.Text, nullable=False, index=True),
        sql.Column("instrument", sql.Text, nullable=False),
        sql.Column("started", sql.Text, nullable=False),
        sql.Column("finished", sql.Text),
        sql.Column("status", sql.Text, nullable=False),
        sql.Column("exit_status", sql.Integer),
        sql.Column("program", sql.Text, nullable=False),
        sql.Column("shortname", sql.Text, nullable=False),
        sql.Column("recipe_kind", sql.Text, nullable=False),
        sql.Column("host", sql.Text, nullable=False),
        sql.Column("os_pid", sql.Integer, nullable=False),
        sql.Column("os_started", sql.Text, nullable=False),
        sql.Column("record", sql.Text, nullable=False),
    )
