"""The formats that can be opened: a module for each, with its reader, and the table of them in `table`."""
