"""Running a sorter: in a process of its own or inside this one, watched, and ended when it must."""
