"""Ray: the driver and its checks, the worker, the private local cluster, submission of jobs."""
