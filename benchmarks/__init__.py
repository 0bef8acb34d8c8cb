"""Every speed as a ratio against its peer, both timed in turn in one run: `make bench`."""
