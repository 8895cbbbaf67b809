"""One year of minutes to all sizes from 2m to 60m: every contestant does the same exact work on the same integers."""
