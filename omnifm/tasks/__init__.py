"""What is learned: one file a task. ``task.py`` is the contract, ``registry.py`` the list."""
