"""Decisions about addresses at which a person is reached outside of the hall."""

import re
from typing import Literal, NamedTuple

import idna

from moothall.core.errors import InvalidArgumentError

ADDRESS_LENGTH_MAX = 254
"""RFC 5321, section 4.5.3.1.3, without the angle brackets."""

_LOCAL_LENGTH_MAX = 64
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*\Z")
"""Dot-atom of RFC 5321, section 4.1.2; what only quotes allow is not accepted."""

_PHONE = re.compile(r"\+[1-9][0-9]{6,14}\Z")
"""E.164: country code and number, 15 digits at most."""

ContactKind = Literal["email", "phone"]


class Address(NamedTuple):
    """An address in its one form."""

    kind: ContactKind
    text: str
    """Where messages are sent."""
    key: str
    """Two addresses of one key reach one person, so they count as one."""


def check_address(text: str, field: str = "contact") -> Address:
    """Return the one form of an e-mail address or a phone number.

    E-mail: the domain in ASCII and lower case (UTS 46, IDNA 2008). The key has the local part
    in lower case too, without what follows a ``+`` (RFC 5233): nobody tells accounts apart by
    either, and one mailbox should not make many accounts. Phone: E.164, nothing but ``+`` and
    digits.

    Raises:
        InvalidArgumentError: It is neither.
    """
    if text.startswith("+"):
        if not _PHONE.match(text):
            reason = "this is no phone number in international form"
            remedy = "give '+', country code and number in digits only, as in +4915112345678"
            raise InvalidArgumentError(field, reason, remedy)
        return Address("phone", text, f"phone:{text}")
    local, at, domain = text.rpartition("@")
    host = _host(domain)
    if not at or host is None or not _LOCAL_PART.match(local) or len(local) > _LOCAL_LENGTH_MAX:
        reason = "this is neither an e-mail address nor a phone number"
        remedy = "give one as in alice@example.org or +4915112345678"
        raise InvalidArgumentError(field, reason, remedy)
    address = f"{local}@{host}"
    if len(address) > ADDRESS_LENGTH_MAX:
        reason = f"an e-mail address has at most {ADDRESS_LENGTH_MAX} characters"
        raise InvalidArgumentError(field, reason, "give another one")
    mailbox = local.partition("+")[0] or local
    return Address("email", address, f"email:{mailbox.lower()}@{host}")


def _host(domain: str) -> str | None:
    """Return a domain in ASCII and lower case; None if no mail can go there."""
    try:
        host = idna.encode(domain, uts46=True, std3_rules=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        return None
    labels = host.split(".")
    # One label is this machine's own network, digits at the end are an address of a machine.
    return host if len(labels) > 1 and labels[-1] and not labels[-1].isdigit() else None
