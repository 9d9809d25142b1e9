"""The stages of Kilosort4, as its log announces them."""

from sort_assets.running.progress import Stage

PREPROCESSING = "preprocessing"
DRIFT = "drift correction"
DETECTION = "spike detection"
FIRST_CLUSTERING = "first clustering"
MATCHING = "template matching"
FINAL_CLUSTERING = "final clustering"
MERGING = "merging"
SAVING = "saving"

STAGES = (
    Stage(PREPROCESSING, "Computing preprocessing variables."),
    Stage(DRIFT, "Computing drift correction."),
    Stage(DETECTION, "Extracting spikes using templates"),
    Stage(FIRST_CLUSTERING, "First clustering"),
    Stage(MATCHING, "Extracting spikes using cluster waveforms"),
    Stage(FINAL_CLUSTERING, "Final clustering"),
    Stage(MERGING, "Merging clusters"),
    Stage(SAVING, "Saving to phy and computing refractory periods"),
)
