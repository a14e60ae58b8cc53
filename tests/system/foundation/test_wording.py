import pytest

from system.foundation.wording import counted


@pytest.mark.parametrize(("count", "said"), [(0, "0 shards"), (1, "1 shard"), (2, "2 shards")])
def test_one_is_one(count, said):
    assert counted(count, "shard") == said
