"""The engine: states, reads, plans, acts and proves. Knows nothing of any application or host."""
