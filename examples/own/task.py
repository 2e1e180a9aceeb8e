"""A task of our own: circles or squares, a folder of images each."""

from pathlib import Path

from vit_bench.suites.sources.folder import folder_task

SHAPES = folder_task(Path(__file__).with_name("shapes"), name="shapes")
