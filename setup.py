"""What pyproject.toml cannot say: which packages there are in the repository's root, the package `vit_bench`."""

from tempfile import TemporaryDirectory

from setuptools import find_packages, setup

found = find_packages(exclude=["tests*", "examples*", "docs*"])
with TemporaryDirectory() as scratch:  # not build/: what an earlier build left there would be shipped again
    setup(
        script_name="setup.py",  # this file, which is no module of `vit_bench`
        packages=["vit_bench", *(f"vit_bench.{name}" for name in found)],
        options={"build": {"build_base": scratch}},
    )
