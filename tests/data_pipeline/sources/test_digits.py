import io

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from data_pipeline.sources.digits import open_digits


def test_digits_are_the_bundled_scans():
    source = open_digits()
    scans = load_digits()
    assert source.class_names == tuple("0123456789")
    assert [entry.key for entry in source.entries[:2]] == ["digits-0000", "digits-0001"]
    assert [entry.label for entry in source.entries] == scans.target.tolist()
    for index in (0, 800, 1796):
        entry = source.entries[index]
        pixels = np.asarray(Image.open(io.BytesIO(source.read(entry))))
        expected = [[round(value * 255 / 16) for value in row] for row in scans.images[index]]
        assert pixels.tolist() == expected
        assert entry.length == len(source.read(entry))
