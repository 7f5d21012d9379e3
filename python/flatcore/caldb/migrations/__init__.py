"""Alembic migrations of the database's tables, one module per version in ``versions``.

A new version is a module ``r<number>_<what>.py`` there, its number at the end of ``schema.REVISIONS``, and the same
change in ``schema``. Migrations are history: they import nothing of flatcore and are never edited.
"""
