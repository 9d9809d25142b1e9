"""How a recording on disk becomes a partition: found, judged complete, read, registered, observed."""
