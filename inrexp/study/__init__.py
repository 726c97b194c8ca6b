"""Methods x pictures x seeds: the plan, its rows, and the tables that they become."""
