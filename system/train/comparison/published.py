"""What the papers print for the same questions, on ImageNet: rows to stand beside ours.

Source: SimFlow, arXiv 2512.04084 (components; curves, read off by eye; statistics of latents);
R-REPA, arXiv 2511.22345 (its table of layers, and its final figures).
"""

from system.train.comparison.markdown import Table

COMPONENTS = Table(
    ("SimFlow's components, ImageNet 256, short runs", "rFID", "PSNR (dB)", "gFID, no guidance"),
    (
        ("frozen autoencoder, learned variance", "0.23", "29.76", "84.44"),
        ("frozen autoencoder trained with fixed variance", "0.40", "27.54", "67.41"),
        ("the same, layer norm on latents", "1.07", "24.43", "55.41"),
        ("frozen encoder, added noise (STARFlow's way)", "4.07", "19.94", "39.33"),
        ("end to end, added noise", "1.39", "23.20", "20.01"),
        ("end to end, fixed variance (SimFlow)", "1.76", "22.61", "16.97"),
    ),
)

ALIGNMENT = Table(
    ("R-REPA, ImageNet 64, 400,000 updates", "FID-4096", "sFID", "one-gradient accuracy (%)"),
    (
        ("none (TARFlow)", "12.91", "33.79", "37.43"),
        ("forward, all 8 blocks", "12.25", "37.97", "46.97"),
        ("detach, all 8 blocks", "12.19", "34.31", "49.06"),
        ("reverse, all 8 blocks", "12.21", "33.80", "49.91"),
        ("forward, blocks 1 and 2 (data side)", "12.67", "39.99", "61.16"),
        ("detach, blocks 1 and 2", "12.73", "33.84", "61.63"),
        ("detach, blocks 7 and 8 (noise side)", "12.12", "34.00", "55.14"),
        ("reverse, blocks 7 and 8, layer 6 of 8", "11.71", "33.68", "57.35"),
    ),
)

GUIDANCE = Table(
    ("published with guidance", "formula", "weight", "FID"),
    (
        ("STARFlow, ImageNet 256", "precision-weighted, ratio clipped, deep block", "3.0", "2.40"),
        ("SimFlow, ImageNet 256", "revised, not published in what was read", "-", "2.15"),
        ("SimFlow, ImageNet 256", "none", "0", "13.72"),
        ("TARFlow, ImageNet 64, patch 2", "linear, all blocks", "2.3", "2.90"),
        ("TARFlow, ImageNet 64, patch 4", "linear, all blocks", "1.7", "3.99"),
    ),
)

LATENTS = Table(
    (
        "SimFlow, 16x16x64 latents of ImageNet 256",
        "spectral entropy",
        "high-frequency ratio",
        "total variation",
        "autocorrelation",
    ),
    (
        ("ordinary autoencoder", "0.97 to 1.0", "0.24", "0.71", "0.06"),
        ("with fixed variance", "0.97 to 1.0", "0.23", "1.06", "0.10"),
        ("with the flow, joint", "0.50 to 0.96, most near 0.84", "0.09", "0.47", "0.54"),
        ("with REPA-E", "the same", "0.09", "0.48", "0.55"),
    ),
)

NOISE = Table(
    (
        "SimFlow, rFID / PSNR by added noise (read off a plot)",
        "0",
        "0.5",
        "0.75",
        "1.0",
    ),
    (
        ("learned", "0.2 / 30.1", "above 10 / 20.9", "off / 17.8", "off"),
        ("0.5", "1.5 / 23.0", "2.6 / 21.8", "8.0 / 20.7", "off / 19.5"),
        ("0.75", "1.55 / 22.8", "1.85 / 22.1", "2.95 / 21.5", "6.2 / 20.5"),
        ("1.0", "1.75 / 22.6", "1.9 / 22.1", "2.5 / 21.6", "3.9 / 20.9"),
        ("1.25", "2.1 / 22.3", "2.2 / 21.9", "2.5 / 21.5", "3.4 / 21.0"),
    ),
)
