"""The truth about searches: rows in SQLite or PostgreSQL, written by one controller a search.

`Store` (in `store`) opens a database and reads and writes it; `lease` says who may write. Nothing is imported here,
since the command line must start fast.
"""
