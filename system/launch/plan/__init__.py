"""What a run will cost and need, found by running its real code on shapes alone."""
