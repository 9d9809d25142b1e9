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
    # The end comes before any further part; with the text itself there, "1" and "01" always have the same order.
    return (
        *((0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in parts if part),
        (-1, 0, text),
    )
