"""Reports: every one is a pure function of a record (``converge.record.Record``)."""
