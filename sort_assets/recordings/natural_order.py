"""The order in which people count: "part_2" before "part_10"."""

import re


def natural_order(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that compares runs of digits as numbers.

    Parameters
    ----------
    text : str
        A file name or the name of a group.

    Returns
    -------
    tuple
        Comparable with the key of any other text.
    """
    parts = re.split(r"([0-9]+)", text)
    # The text itself comes last, so that "1" and "01" have an order, always the same.
    return (*((0, int(part), "") if part.isdigit() else (1, 0, part.lower()) for part in parts if part), (2, 0, text))
