"""The formats that can be opened: one module each, and the table of them."""
