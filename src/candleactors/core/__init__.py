"""Sans-IO decisions: pure, synchronous objects. The time and the random source are arguments."""
