"""All that knows pytest: flags, hooks, fixtures, and what ends a session."""
