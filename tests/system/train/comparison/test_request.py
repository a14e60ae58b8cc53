import pytest
from pydantic import ValidationError

from system.train.comparison.request import CONFIGS
from system.train.comparison.request import Comparison


def test_shards_lie_where_the_packer_puts_them_unless_said_otherwise() -> None:
    assert Comparison(data="photographs").shards_url == "shards/photographs"
    assert Comparison(shards="s3://bucket/digits").shards_url == "s3://bucket/digits"


def test_every_data_set_has_its_overlay() -> None:
    for data in ("digits", "photographs"):
        assert (CONFIGS / "comparison" / f"{data}.yaml").exists()


@pytest.mark.parametrize("keys", [{"seeds": ()}, {"arms": ()}, {"table": "z"}])
def test_an_empty_or_unknown_comparison_is_refused(keys: dict) -> None:
    with pytest.raises(ValidationError):
        Comparison(**keys)
