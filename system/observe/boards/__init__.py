"""Grafana boards as code: what stands on them, written to `ops/grafana`."""
