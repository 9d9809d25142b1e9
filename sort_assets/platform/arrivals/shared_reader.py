"""The reader of headers that all looks of this process share: it starts when it is first needed."""

from sort_assets.platform.arrivals.header_reader import HeaderReader

header_reader = HeaderReader()
