"""Protocol-faithful venue simulators, sharing nothing but `model` with the codecs they test."""
