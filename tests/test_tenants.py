"""Names inside the service: whose something is, and what its tenant calls it."""

import re

import pytest

from cvpipe.tenants import PATTERN, id_of, owned, parted, tenant_of


def test_a_name_says_whose_it_is_and_what_they_call_it() -> None:
    name = owned("site-3", "019b76da")
    assert name == "site-3/019b76da"
    assert (tenant_of(name), id_of(name), parted(name)) == ("site-3", "019b76da", ("site-3", "019b76da"))


@pytest.mark.parametrize("name", ["019b76da", "/019b76da", "site-3/", ""])
def test_an_id_without_its_tenant_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="wanted <tenant>/<id>"):
        parted(name)


@pytest.mark.parametrize("tenant", ["default", "a", "0", "site-3", "a" * 32])
def test_a_tenant_is_a_word_that_keys_and_paths_can_hold(tenant: str) -> None:
    assert re.fullmatch(PATTERN, tenant)


@pytest.mark.parametrize("tenant", ["", "A", "-a", "a/b", "a:b", "..", ".", "a b", "a\n", "ä", "a" * 33])
def test_a_tenant_cannot_lead_out_of_its_keys_and_paths(tenant: str) -> None:
    assert not re.fullmatch(PATTERN, tenant)
