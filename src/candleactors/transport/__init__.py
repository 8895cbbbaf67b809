"""Everything that touches a socket or a clock."""
