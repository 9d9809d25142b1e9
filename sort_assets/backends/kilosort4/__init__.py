"""Kilosort4: its backend, the rules for its failures, its stages, and what drives its memory."""

from sort_assets.backends.kilosort4.backend import Kilosort4Backend

__all__ = ["Kilosort4Backend"]
