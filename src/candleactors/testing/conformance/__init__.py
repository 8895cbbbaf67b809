"""What a venue's codec has to fulfil, as tests to inherit: see `candleactors.testing.venue_conformance`."""
