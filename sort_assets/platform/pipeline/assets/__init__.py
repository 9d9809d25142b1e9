"""The assets of the sorting pipeline, one module each; thin: inputs, one call of the library, a published artefact."""
