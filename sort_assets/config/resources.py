"""What the steps of a recording ask of the engine that executes them, where somebody wants other than the declared."""

from pydantic import Field

from sort_assets.config.section import Parameters, PositiveFloat, Section


class StepResources(Section):
    """What one step asks of the engine; null leaves it to what sort_assets knows of the step."""

    cpus: int | None = Field(None, ge=1, description="CPU cores.")
    memory_gb: PositiveFloat | None = Field(None, description="Memory of the host in GB (1e9 bytes).")
    time_limit_h: PositiveFloat | None = Field(
        None, description="Hours after which the engine may end it (Slurm, Kubernetes); null asks for no limit."
    )


class SortingResources(StepResources):
    """What the sort asks of the engine."""

    gpus: int | None = Field(
        None,
        ge=0,
        le=1,
        description="GPUs; null asks for one where the sorter can use one and sorter.device does not say otherwise.",
    )
    gpu_memory_gb: PositiveFloat | None = Field(
        None, description="Memory in GB that the GPU should have; null takes the estimate from the recording's shape."
    )


_STEP = "What that step asks for."


class ResourcesConfig(Section):
    """What the steps ask of the engine: a field for each asset, and one for a run that is a job by itself."""

    preprocessed_recording: StepResources = Field(StepResources(), description=_STEP)
    binary_dat: StepResources = Field(StepResources(), description=_STEP)
    sorting: SortingResources = Field(SortingResources(), description=_STEP)
    waveforms: StepResources = Field(StepResources(), description=_STEP)
    unit_metrics: StepResources = Field(StepResources(), description=_STEP)
    curated_units: StepResources = Field(StepResources(), description=_STEP)
    sorting_report: StepResources = Field(StepResources(), description=_STEP)
    spike_data: StepResources = Field(StepResources(), description=_STEP)
    run: StepResources = Field(
        StepResources(),
        description="What a run asks for that is one job of the engine (Slurm), in place of what its steps need.",
    )
    slurm: Parameters = Field(
        {},
        description="Options of `sbatch` by their long names, such as `{partition: gpu}`; they take precedence over "
        "those of SORT_ASSETS_SLURM_OPTIONS.",
    )
