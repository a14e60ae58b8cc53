"""Ledgers as training writes them, from the real stream, with attempts that die."""

from data_pipeline.stream.loader import open_stream
from system.foundation.world import World
from system.telemetry.ledger import Ledger

BATCH = 120
SEED = 5


def write_attempt(folder, manifest, data, *, attempt, start, intervals, told=None, size=1):
    """One attempt that begins at `start` and consumes so many batches in each of its intervals.

    The last `told` intervals are written down (all of them for None); the attempt dies then.
    """
    with Ledger(str(folder), f"worker-{attempt}", run="tiny", attempt=attempt) as ledger:
        ranks = [
            open_stream(
                manifest,
                data,
                seed=SEED,
                world=World(rank, size),
                global_batch=BATCH,
                micro_batch=BATCH // size,
                images_seen=start,
                on_bad_sample=lambda entry: ledger.write("bad_sample", **entry._asdict()),
            )
            for rank in range(size)
        ]
        length = ranks[0].samples_per_epoch
        ledger.write("stream_opened", images_seen=start, **origin(manifest, data, length))
        for number, batches in enumerate(intervals):
            for _ in range(batches):
                for rank in ranks:
                    next(rank)
            totals = {}
            for rank in ranks:
                for epoch, digest in rank.account.take_digests().items():
                    totals[epoch] = (totals.get(epoch, 0) + digest) % 2**64
            stop = start + batches * BATCH
            if told is None or number < told:
                digests = {str(epoch): f"{digest:016x}" for epoch, digest in totals.items()}
                ledger.write("consumed", start=start, stop=stop, digests=digests)
            start = stop
        for rank in ranks:
            rank.close()
    return start


def origin(manifest, data, samples_per_epoch):
    return {
        "shards": manifest.url,
        "split": "train",
        "manifest_digest": manifest.digest,
        "keys_digest": f"{manifest.keys_digest:016x}",
        "samples": manifest.samples,
        "samples_per_epoch": samples_per_epoch,
        "global_batch": BATCH,
        "seed": SEED,
        "window_shards": data.window_shards,
        "selection": data.selection.model_dump(mode="json"),
    }
