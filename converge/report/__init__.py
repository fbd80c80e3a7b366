"""Reports: every one is a pure function of a record (``converge.checking.record.Record``), or of a survey of several."""
