"""The plugin API: hooks, the records that they take, and the manager that loads plugins."""
