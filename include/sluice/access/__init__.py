"""Who may reach which store, and what to do when it may not."""
