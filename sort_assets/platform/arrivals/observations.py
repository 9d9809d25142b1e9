"""The observations of a recording that Dagster gets: its files on disk, and what rules and sidecar say about it."""

import hashlib
import json
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from sort_assets.config import ConfigLayer
from sort_assets.config.presets import DEFAULT_PRESET
from sort_assets.config.rules import RecordingSettings
from sort_assets.platform.pipeline.assets.observed import (
    curation_settings,
    delivery_settings,
    raw_recording,
    recording_settings,
    sorter_settings,
    waveform_settings,
)
from sort_assets.platform.store.content_hash import hash_json
from sort_assets.recordings.headers import RecordingHeader, StreamHeader
from sort_assets.recordings.key import RecordingKey
from sort_assets.recordings.probe_files import probe_fingerprint

DATA_VERSION_TAG = "dagster/data_version"
SETTINGS_METADATA = "settings"
"""The metadata of an observation of settings that hold them: what differs from the defaults, by section."""

RAW = raw_recording.key.to_user_string()
_SECTIONS = {
    recording_settings.key.to_user_string(): ("recording",),
    sorter_settings.key.to_user_string(): ("sorter",),
    waveform_settings.key.to_user_string(): ("waveform",),
    # One for both: each observation of each new recording takes the sensor time, and metrics are quick to make again.
    curation_settings.key.to_user_string(): ("metrics", "curation"),
    delivery_settings.key.to_user_string(): ("delivery",),
}
_DELIVERY = delivery_settings.key.to_user_string()


@dataclass(frozen=True)
class Observed:
    """What is to be reported of one asset of a recording.

    Attributes
    ----------
    version : str
        Its data version.
    metadata : Mapping[str, Any]
        What the UI shows.
    """

    version: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class ObservedStream:
    """What is to be reported of one stream of a recording.

    Attributes
    ----------
    key : str
        The partition's key.
    observed : Mapping[str, Observed]
        By asset.
    """

    key: str
    observed: Mapping[str, Observed]


def observe_streams(
    path: Path, relative: str, header: RecordingHeader, settings: RecordingSettings, forgotten: Container[str]
) -> tuple[ObservedStream, ...]:
    """What is to be reported of a recording, by stream.

    Parameters
    ----------
    path : Path
        Where the recording is.
    relative : str
        The same, relative to the recordings root.
    header : RecordingHeader
    settings : RecordingSettings
    forgotten : container of str
        Keys of the streams that are left out.

    Raises
    ------
    RecordingKeyError
        When the path can't become a key.
    ConfigError
        When the settings are not valid.
    """
    keys = [(RecordingKey(relative, stream.name), stream) for stream in header.streams]
    return tuple(
        ObservedStream(str(key), {RAW: _observe_files(path, header, stream)} | observe_settings(key, path, settings))
        for key, stream in keys
        if str(key) not in forgotten
    )


def _observe_files(path: Path, header: RecordingHeader, stream: StreamHeader) -> Observed:
    metadata = {
        "path": dg.MetadataValue.path(path),
        "bytes": header.num_bytes,
        "format": header.format,
        "channels": stream.channels,
        "sampling_hz": stream.sampling_hz,
        "duration_s": stream.duration_s,
        **({"clock": stream.clock} if stream.clock else {}),
        **({"left_out": " ".join(header.left_out)} if header.left_out else {}),
    }
    return Observed(header.fingerprint, metadata)


def observe_settings(key: RecordingKey, path: Path, settings: RecordingSettings) -> dict[str, Observed]:
    """What rules and sidecar say about a recording, by asset.

    The version of a section is the hash of what differs in it from the defaults, of the probe file's content, and of
    what is declared about session and subject: new fields in a new version of sort_assets make nothing stale.

    Parameters
    ----------
    key : RecordingKey
    path : Path
        Where the recording is.
    settings : RecordingSettings

    Raises
    ------
    ConfigError
        When the settings are not valid.
    """
    further = [] if key.stream is None else [ConfigLayer("recording key", {"recording": {"stream": key.stream}})]
    resolved = settings.resolve(DEFAULT_PRESET, further)
    differing = resolved.config.model_dump(mode="json", exclude_defaults=True)
    observed = {}
    for asset, sections in _SECTIONS.items():
        content = {section: differing.get(section, {}) for section in sections}
        if "recording" in sections:
            probe = probe_fingerprint(path, resolved.config.recording.probe_file, key.stream)
            content |= {} if probe is None else {"probe": probe}
        if asset == _DELIVERY:
            content |= _facts(settings)
        chosen = {name: source for name, source in resolved.chosen.items() if name.partition(".")[0] in sections}
        metadata = {SETTINGS_METADATA: dg.MetadataValue.json(content), "chosen_by": dg.MetadataValue.json(chosen)}
        observed[asset] = Observed(hash_json(content), metadata | _sources(settings))
    return observed


def _facts(settings: RecordingSettings) -> dict[str, Any]:
    """What is declared about session and subject, as plain values."""
    return {
        name: part.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        for name, part in (("session", settings.session), ("subject", settings.subject))
    }


def report(instance: dg.DagsterInstance, key: str, observed: Mapping[str, Observed], description: str) -> None:
    """Report observations of a partition, by asset."""
    for asset, seen in observed.items():
        instance.report_runless_asset_event(
            dg.AssetObservation(
                asset_key=asset,
                partition=key,
                description=description,
                metadata=seen.metadata,
                tags={DATA_VERSION_TAG: seen.version},
            )
        )


def report_missing(instance: dg.DagsterInstance, key: str, path: Path, version: str | None) -> None:
    """Report that a recording is missing; its data version stays, so that no result becomes stale."""
    instance.report_runless_asset_event(
        dg.AssetObservation(
            asset_key=RAW,
            partition=key,
            description=f"{path} is no longer there. Its results are kept.",
            metadata={"path": dg.MetadataValue.path(path), "vanished": True},
            tags={} if version is None else {DATA_VERSION_TAG: version},
        )
    )


def settings_hash(settings: RecordingSettings) -> str:
    """Hash of what is declared, wherever it is declared."""
    content = [
        [[layer.preset, layer.overrides] for layer in settings.layers],
        [settings.ignore, settings.sort, settings.concatenate, settings.streams],
        [part.model_dump(mode="json") for part in (settings.arrival, settings.session, settings.subject)],
    ]
    return hashlib.blake2b(json.dumps(content, default=str).encode(), digest_size=8).hexdigest()


def _sources(settings: RecordingSettings) -> dict[str, Any]:
    return {"declared_in": ", ".join(settings.sources) or "nothing but defaults"}
