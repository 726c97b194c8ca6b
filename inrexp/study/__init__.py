"""A study runs methods on pictures with several seeds: its plan, its rows, and the tables made from the rows."""
