import pytest

from system.train.comparison import published
from system.train.comparison.markdown import Table

TABLES = (
    published.COMPONENTS,
    published.ALIGNMENT,
    published.GUIDANCE,
    published.LATENTS,
    published.NOISE,
)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.head[0])
def test_every_published_table_is_whole(table: Table) -> None:
    assert str(table).count("\n") == len(table.rows) + 1


def test_the_best_rows_are_the_papers_own() -> None:
    assert min(float(row[3]) for row in published.COMPONENTS.rows) == 16.97
    best = min(published.ALIGNMENT.rows, key=lambda row: float(row[1]))
    assert best[0].startswith("reverse, blocks 7 and 8")
