"""The environment variables of the control host that an engine tells its nodes."""

from collections.abc import Collection

from pydantic import SecretStr

from sort_assets.config.settings import Environment


def told_to_nodes(environment: Environment, *, without: Collection[str] = ()) -> dict[str, str]:
    """The variables of sort_assets that are set here, by name; a secret is never among them.

    Parameters
    ----------
    environment : Environment
    without : collection of str
        Variables of which every host has its own.
    """
    told = {}
    for field in environment.model_fields_set:
        variable, value = str(Environment.model_fields[field].validation_alias), getattr(environment, field)
        if value is not None and not isinstance(value, SecretStr) and variable not in without:
            told[variable] = str(value)
    return dict(sorted(told.items()))
