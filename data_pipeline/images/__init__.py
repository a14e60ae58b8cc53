"""Pixels: image bytes decoded, cropped and mirrored."""
