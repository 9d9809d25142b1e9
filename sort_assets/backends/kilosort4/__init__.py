"""Kilosort4: its backend, how its failures read, and what drives its memory."""

from sort_assets.backends.kilosort4.backend import Kilosort4Backend

__all__ = ["Kilosort4Backend"]
