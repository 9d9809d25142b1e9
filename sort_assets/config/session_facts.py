"""What a lab states about a session and its subject, for delivery as NWB: no setting, and nothing a file tells.

The fields are named as in pynwb's `NWBFile` and `Subject`; `electrode_location` goes to its electrodes. What is stated
is checked as NWB's own inspector does, with two exceptions: publications need no DOI, and whether a session lies in the
future is not a matter of the file.
https://github.com/NeurodataWithoutBorders/nwbinspector (checks/_nwbfile_metadata.py)
"""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, StringConstraints

from sort_assets.config.section import Section

_DURATION = re.compile(
    r"P(?!$)(\d+(\.\d+)?Y)?(\d+(\.\d+)?M)?(\d+(\.\d+)?W)?(\d+(\.\d+)?D)?"
    r"(T(?=\d)(\d+(\.\d+)?H)?(\d+(\.\d+)?M)?(\d+(\.\d+)?S)?)?",
    re.ASCII,
)
_SPECIES = re.compile(r"[A-Z][a-z]* [a-z]+|http://purl\.obolibrary\.org/obo/NCBITaxon_[0-9]+")
_PERSON = re.compile(r"[\w\s\-.']+(,\s[\w\s\-.']+)+")
_WEIGHT = re.compile(r"[0-9]+(\.[0-9]+)? (kg|g)")
_EARLIEST_SESSION = datetime(1980, 1, 1, tzinfo=UTC)


def one_as_many(value: Any) -> Any:
    """One text as a tuple of one, and a list as a tuple, for fields that take several texts."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _age(text: str) -> str:
    youngest, slash, oldest = text.partition("/")
    if _DURATION.fullmatch(youngest) and (_DURATION.fullmatch(oldest) or (slash and not oldest) or not slash):
        return text
    raise ValueError("should be an ISO 8601 duration such as P90D or P12W, or a range of them such as P10W/P12W")


def _species(text: str) -> str:
    if _SPECIES.fullmatch(text):
        return text
    raise ValueError(
        "should be the Latin name such as 'Mus musculus', or a link such as "
        "'http://purl.obolibrary.org/obo/NCBITaxon_10090'"
    )


def _person(text: str) -> str:
    if _PERSON.fullmatch(text):
        return text
    raise ValueError("should be written 'Last name, First name'; several people make a list")


def _weight(text: str) -> str:
    if _WEIGHT.fullmatch(text):
        return text
    raise ValueError("should be a number and its unit, such as '0.025 kg' or '25 g'")


def _no_slash(text: str) -> str:
    if "/" not in text:
        return text
    raise ValueError("should have no slash, which archives use in the paths that they make of it")


def _plausible_start(time: datetime) -> datetime:
    if time > _EARLIEST_SESSION:
        return time
    raise ValueError("should be the true start of the session, after 1980")


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Identifier = Annotated[Text, AfterValidator(_no_slash)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(one_as_many)]
People = Annotated[tuple[Annotated[Text, AfterValidator(_person)], ...], BeforeValidator(one_as_many)]


class SessionFacts(Section):
    """Facts about the session in which a recording was made."""

    session_description: Text | None = Field(None, description="What was done in the session.")
    session_id: Identifier | None = Field(None, description="The lab's own name for the session.")
    session_start_time: Annotated[AwareDatetime, AfterValidator(_plausible_start)] | None = Field(
        None, description="Start of the session, with its time zone, such as 2024-05-01T10:00:00+02:00."
    )
    experimenter: People | None = Field(None, description="Who did it, each as 'Last name, First name'.")
    experiment_description: Text | None = Field(None, description="What the experiment is about.")
    lab: Text | None = Field(None, description="The lab.")
    institution: Text | None = Field(None, description="The lab's university or institute.")
    keywords: Texts | None = Field(None, description="Words to be found by.")
    notes: Text | None = Field(None, description="Notes about the experiment.")
    data_collection: Text | None = Field(None, description="Notes about how the data were collected.")
    pharmacology: Text | None = Field(None, description="Drugs, with doses, and how and when they were given.")
    protocol: Text | None = Field(None, description="The protocol, such as the number of the animal permit.")
    related_publications: Texts | None = Field(None, description="Publications, such as 'doi:10.1000/182'.")
    slices: Text | None = Field(None, description="Slices: thickness, orientation, temperature, bath.")
    stimulus_notes: Text | None = Field(None, description="What was presented, how and where.")
    surgery: Text | None = Field(None, description="Surgeries, with dates, and who performed them.")
    virus: Text | None = Field(None, description="Viruses, with source, site and volume.")
    electrode_location: Text | None = Field(
        None,
        description="Brain area of the electrodes, where the recording does not say; of mice, a term of the Allen "
        "atlas such as 'VISp'.",
    )


class SubjectFacts(Section):
    """Facts about the animal, person or preparation that was recorded from."""

    subject_id: Identifier | None = Field(None, description="The subject's name in the lab.")
    species: Annotated[Text, AfterValidator(_species)] | None = Field(
        None, description="Latin name such as 'Mus musculus', or the NCBI taxonomy's link."
    )
    strain: Text | None = Field(None, description="Strain, such as 'C57BL/6J'.")
    genotype: Text | None = Field(None, description="Genotype.")
    sex: Literal["M", "F", "U", "O", "XX", "XO"] | None = Field(
        None, description="M (male), F (female), U (unknown) or O (other); for C. elegans XX or XO."
    )
    age: Annotated[Text, AfterValidator(_age)] | None = Field(
        None, description="Age at the session as an ISO 8601 duration, such as P90D, or a range P10W/P12W."
    )
    age__reference: Literal["birth", "gestational"] | None = Field(
        None, description="From when the age counts; birth when not stated."
    )
    date_of_birth: date | None = Field(None, description="Date of birth, such as 2024-05-01.")
    weight: Annotated[Text, AfterValidator(_weight)] | None = Field(
        None, description="Weight with its unit, such as '0.025 kg'."
    )
    description: Text | None = Field(None, description="Anything else about the subject.")
