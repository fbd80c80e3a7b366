"""The inventory: which hosts a target has and what the application there is called."""
