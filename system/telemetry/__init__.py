"""What a run says about itself: the metric registry, the ledger, and the sinks that mirror it."""
