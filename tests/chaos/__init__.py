"""Chaos: a run is struck at every boundary of its journal, and the next one must end well."""
