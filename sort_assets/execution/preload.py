"""Imported once by the server that step processes are forked from; never by the code location itself."""

import matplotlib.figure  # noqa: F401
import spikeinterface.core
import spikeinterface.preprocessing
import spikeinterface.sorters  # noqa: F401
