"""How fast the health check is, side by side with a floor and with its peers, on a lab of the bench's own.

``script/bench [one|many|growth|convergence ...]``; docs/performance.md says what is measured and what came out.
"""
