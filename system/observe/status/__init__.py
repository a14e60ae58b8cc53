"""The status page: what the runs of a root are doing, live, in a browser and as one file."""
