"""Reports of a recording and of all of them."""
