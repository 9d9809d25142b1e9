"""Templates moved along the probe: copied from contact to contact where the probe repeats, interpolated elsewhere."""

from __future__ import annotations

import numpy as np

_SAME_PLACE_UM = 0.5
"""Contacts that are nearer than this are at the same place."""
_FLAT = 1e-3
"""Extent across, as a part of the extent along, below which contacts stand in one line."""


def move_template(
    template: np.ndarray, locations_um: np.ndarray, displacement_um: float, destinations_um: np.ndarray | None = None
) -> np.ndarray:
    """A template as it would be seen if its neuron were further along the probe.

    Where the probe repeats at that distance, waveforms are copied from contact to contact. Other contacts get a cubic
    interpolation between contacts (that of `spikeinterface.generation.interpolate_templates`; along the line where all
    contacts stand in one), and zero where the neuron's old surroundings had no contacts.

    Parameters
    ----------
    template : np.ndarray
        Shape (samples, channels).
    locations_um : np.ndarray
        Where its channels are, shape (channels, 2): across and along the probe.
    displacement_um : float
        Along the probe.
    destinations_um : np.ndarray or None
        Contacts of the result, shape (contacts, 2); None takes `locations_um`.

    Returns
    -------
    np.ndarray
        Shape (samples, contacts), float32.
    """
    destinations = locations_um if destinations_um is None else destinations_um
    sources = destinations - np.array([0.0, displacement_um])
    nearest, same = _at_contacts(sources, locations_um)
    moved = np.zeros((len(template), len(destinations)), dtype=np.float32)
    moved[:, same] = template[:, nearest[same]]
    inside = (sources >= locations_um.min(axis=0) - _SAME_PLACE_UM).all(axis=1)
    inside &= (sources <= locations_um.max(axis=0) + _SAME_PLACE_UM).all(axis=1)
    between = np.flatnonzero(inside & ~same)
    if len(between):
        moved[:, between] = _interpolate(template, locations_um, sources[between])
    return moved


def moves_exactly(locations_um: np.ndarray, displacement_um: float) -> bool:
    """Whether nine of ten contacts have, at that distance along the probe, another to copy from."""
    sources = locations_um - np.array([0.0, displacement_um])
    along = sources[:, 1]
    inside = (along >= locations_um[:, 1].min() - _SAME_PLACE_UM) & (along <= locations_um[:, 1].max() + _SAME_PLACE_UM)
    _, same = _at_contacts(sources, locations_um)
    return bool(inside.any()) and float(same[inside].mean()) >= 0.9


def _at_contacts(places_um: np.ndarray, locations_um: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each place the nearest contact, and whether that is at this very place."""
    from scipy.spatial import cKDTree

    distance, nearest = cKDTree(locations_um).query(places_um)
    return np.asarray(nearest), np.asarray(distance) < _SAME_PLACE_UM


def _interpolate(template: np.ndarray, locations_um: np.ndarray, places_um: np.ndarray) -> np.ndarray:
    centred = locations_um - locations_um.mean(axis=0)
    extents = np.linalg.svd(centred, compute_uv=False) if len(locations_um) > 1 else np.zeros(2)
    if len(extents) < 2 or extents[1] <= _FLAT * extents[0]:
        return _interpolate_along(template, locations_um[:, 1], places_um[:, 1])
    from scipy.interpolate import CloughTocher2DInterpolator

    # What `interpolate_templates` does anew for each sample of a template, with the same result.
    return np.asarray(CloughTocher2DInterpolator(locations_um, template.T, fill_value=0.0)(places_um).T)


def _interpolate_along(template: np.ndarray, along_um: np.ndarray, places_um: np.ndarray) -> np.ndarray:
    """Along a line of contacts, where SpikeInterface's triangles have no area."""
    from scipy.interpolate import PchipInterpolator

    order = np.argsort(along_um)
    apart = np.concatenate([[True], np.diff(along_um[order]) > 0])
    order = order[apart]
    if len(order) < 2:
        return np.zeros((len(template), len(places_um)))
    found = PchipInterpolator(along_um[order], template[:, order], axis=1, extrapolate=False)(places_um)
    return np.asarray(np.nan_to_num(found))
