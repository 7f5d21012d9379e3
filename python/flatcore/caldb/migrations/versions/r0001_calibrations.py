"""The table of calibrations, as flatcore had it before its tables had versions."""

import sqlalchemy as sql
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "calibrations",
        sql.Column("ID", sql.Integer, primary_key=True, autoincrement=True),
        sql.Column("KEYNAME", sql.String, nullable=False),
        sql.Column("FIBER", sql.String, nullable=False),
        sql.Column("REFCAL", sql.Integer, nullable=False),
        sql.Column("FILENAME", sql.String, nullable=False),
        sql.Column("HUMANTIME", sql.String, nullable=False),
        sql.Column("UNIXTIME", sql.Double, nullable=False),
        sql.Column("PID", sql.String, nullable=False),
        sql.Column("PDATE", sql.String, nullable=False),
        sql.Column("USED", sql.Integer, nullable=False),
        sql.Column("SHA256", sql.String, nullable=False),
        sql.UniqueConstraint("KEYNAME", "FIBER", "REFCAL", "FILENAME"),
    )
