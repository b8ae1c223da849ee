"""Identifiers of rows, records and events: the same ones as those of calls."""

from interceptors.ids import id_time, new_id

__all__ = ["id_time", "new_id"]
