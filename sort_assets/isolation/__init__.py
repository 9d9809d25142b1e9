"""Running a sorter in a process of its own, and following what it does there."""
