from pathlib import Path

import pytest

from tests.lab import venv


def test_another_debian_asks_the_package_index_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listing = (
        "global.cert='/etc/ssl/bundle.pem'\n"
        "global.extra-index-url='http://one.example/simple http://two.example/simple'\n"
        "install.index-url='http://mirror.example/simple'\n"
        ":env:.trusted-host='mirror.example'\n"
    )
    monkeypatch.setattr(venv, "run", lambda *_, **__: listing)
    assert venv._index(Path("/salt")) == {
        "PIP_EXTRA_INDEX_URL": "http://one.example/simple http://two.example/simple",
        "PIP_INDEX_URL": "http://mirror.example/simple",
        "PIP_TRUSTED_HOST": "mirror.example",
    }
