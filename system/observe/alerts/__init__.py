"""What somebody is woken or written to for: rules of Prometheus and their tests, as code."""
