"""Pages that are made from the code while the documentation is built."""

import reference  # docs/reference.py: mkdocs puts this folder on the path while it loads a hook
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_PAGES = {
    "configuration": reference.configuration_page,
    "environment": reference.environment_page,
    "troubleshooting": reference.troubleshooting_page,
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference pages, which nobody writes by hand."""
    for name, page in _PAGES.items():
        files.append(File.generated(config, f"reference/{name}.md", content=page()))
    return files
