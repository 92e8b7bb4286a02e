"""What the tests of whole rewriting runs share."""

from collections.abc import Iterator

import pytest

from mindgap_data.verify.pool import VerifierPool


@pytest.fixture(scope="module")
def pool() -> Iterator[VerifierPool]:
    with VerifierPool("numeric") as pool:
        yield pool
