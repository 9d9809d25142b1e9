"""What watches over a sort: checks before it starts, and watchdogs while it runs."""
