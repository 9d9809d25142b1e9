"""Pages that are made from the code while the documentation is built."""

import importlib.util

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

# mkdocs puts this folder on the path while it loads a hook.
_reference = importlib.import_module("reference") if importlib.util.find_spec("reference") else None


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference pages, which nobody writes by hand."""
    for name in ("configuration", "environment", "troubleshooting"):
        page = getattr(_reference, f"{name}_page")() if _reference else f"# {name.capitalize()}\n"
        files.append(File.generated(config, f"reference/{name}.md", content=page))
    return files
