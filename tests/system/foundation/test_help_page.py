from pathlib import Path

from pydantic import BaseModel

from system.foundation.config import record_from_mapping
from system.foundation.config import resolve
from system.foundation.help_page import render

PAGE = """\
Settings to try the loader on.
  name=x       text matching ^[a-z0-9]+$
      its name
  flag=false   true | false
      a truth value
  stage=1      0 | 1 | 2
      a choice
  weights={}   mapping of text to number
      by name

size: Sizes. A longer explanation follows
  size.width=8         whole number > 0 and <= 4096
      channels
  size.depths=[1, 2]   list of whole number > 0
      layers of each
  size.pair=[1, 0.5]   list of (whole number, number)
      one of each
  size.limit=null      whole number >= 1 | null
      bound, if any

size.distance: A distance.
  size.distance.kind=l1      l1 | l2
  size.distance.weight=1.0   number
      weight in the sum

optimiser: Muon.
  optimiser.kind=muon       adam | muon
  optimiser.rate=0.02       number > 0
      learning rate
  optimiser.momentum=0.95   number
      decay of the momentum
  or optimiser.kind=adam with rate, beta
      Adam. Source: 1412.6980.

source: The digits.
  source.kind=digits   folder | digits
  or source.kind=folder with url
      A source that must be named.
"""


def test_the_page_has_every_key_with_value_type_and_meaning(schema: type[BaseModel]) -> None:
    settings = {"size": {"width": 8}, "optimiser": {"kind": "muon"}, "source": {"kind": "digits"}}
    assert render(record_from_mapping(settings, schema)) == PAGE


def test_lines_fit_the_page() -> None:
    recipe = resolve(Path(__file__).parents[3] / "configs" / "simflow_digits.yaml", []).recipe
    assert max(map(len, render(recipe).splitlines())) <= 100
