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
    Stage(DRIFT, "Computing drift correction.", logs_steadily=True),
    Stage(DETECTION, "Extracting spikes using templates", logs_steadily=True),
    Stage(FIRST_CLUSTERING, "First clustering", logs_steadily=True),
    Stage(MATCHING, "Extracting spikes using cluster waveforms", logs_steadily=True),
    Stage(FINAL_CLUSTERING, "Final clustering", logs_steadily=True),
    Stage(MERGING, "Merging clusters"),
    Stage(SAVING, "Saving to phy and computing refractory periods"),
)
