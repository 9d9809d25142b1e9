"""Which units are kept, why, and how to get there again."""
