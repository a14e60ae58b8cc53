"""Counts in words, for lines that people read."""


def counted(count: int, noun: str) -> str:
    """`1 shard`, `2 shards`: the count and its noun, with an s where it is not one."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
