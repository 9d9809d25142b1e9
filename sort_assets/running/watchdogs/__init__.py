"""The watchdogs of a sort: each looks at one sign of trouble, and ends the sorter when it must."""
