"""How many versions of each asset are kept: `SORT_ASSETS_KEEP`, and `--keep` of `sort-assets gc`."""

from collections.abc import Iterable

from sort_assets.config.settings import KEEP_VARIABLE, read_environment
from sort_assets.config.variant_names import VARIANT_PREFIX
from sort_assets.errors import ConfigError
from sort_assets.platform.pipeline.catalog import DEFAULT_VERSIONS_KEPT, STORED

_ALL = "all"


def versions_kept(chosen: Iterable[str] = ()) -> dict[str, int | None]:
    """How many of the newest versions are kept by asset: the catalogue, `SORT_ASSETS_KEEP`, and `chosen` on top.

    None, and an asset that is not named, keeps every version.

    Parameters
    ----------
    chosen : Iterable[str]
        Like ``binary_dat=2`` or ``waveforms=all``.

    Raises
    ------
    ConfigError
        When a choice names no asset, or no number of at least 1.
    """
    kept = dict(DEFAULT_VERSIONS_KEPT)
    from_environment = [part.strip() for part in read_environment().keep.split(",")]
    for source, choices in ((KEEP_VARIABLE, [part for part in from_environment if part]), ("--keep", chosen)):
        for choice in choices:
            asset, number = _parsed(choice, source)
            kept[asset] = number
    return kept


def _parsed(choice: str, source: str) -> tuple[str, int | None]:
    asset, _, number = (part.strip() for part in choice.partition("="))
    if asset not in STORED and not asset.startswith(VARIANT_PREFIX):
        raise ConfigError(
            f"{source} says '{choice}': there is no asset '{asset}'.",
            remedy=f"Write like binary_dat=2, with one of {', '.join(sorted(STORED))}, or {VARIANT_PREFIX}NAME.",
        )
    if number == _ALL:
        return asset, None
    if not (number.isascii() and number.isdigit() and int(number) >= 1):
        raise ConfigError(
            f"{source} says '{choice}': '{number}' is no number of versions to keep.",
            remedy=f"Write a whole number of at least 1 (the current version always stays), or '{_ALL}'.",
        )
    return asset, int(number)
