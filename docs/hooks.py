"""Pages that are made from the code while the documentation is built."""

import measured  # docs/measured.py: mkdocs puts this folder on the path while it loads a hook
import reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_PAGES = {
    "reference/configuration": reference.configuration_page,
    "reference/environment": reference.environment_page,
    "reference/troubleshooting": reference.troubleshooting_page,
    "benchmarks": measured.benchmarks_page,
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that nobody writes by hand."""
    for name, page in _PAGES.items():
        files.append(File.generated(config, f"{name}.md", content=page()))
    return files
