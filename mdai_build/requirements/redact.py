"""How to show an address without its password."""

from __future__ import annotations

import re

# Begins where a word does, and is bounded where it could begin anywhere: else the time grows with the text's square.
_ADDRESS = re.compile(r"(?P<scheme>(?<![\w+.-])[\w+.-]+://)(?P<rest>[^\s'\"<>]+)")
_SECRET_PARAMETER = re.compile(
    r"(?i)(?P<name>[?&;#][\w.-]*(?:token|secret|password|passwd|pwd|signature|sig|key|auth|credential)[\w.-]*=)[^&#\s]+"
)
# A login without a scheme before it, as in `https:/user:password@host`; not `git+https://host/path@tag`.
_LOGIN = re.compile(r"(?<![\w/@.])[^\s/:@]{1,256}:(?!//)[^\s@]{1,1024}@(?=[\w.-])")


def redact(text: str) -> str:
    """The text with every password, user name and token of an address in it replaced by `***`.

    A URL's user is everything up to the last `@` of its authority (RFC 3986, 3.2). Passwords that hold an unquoted
    `/` end the authority early; where what stands for the port is no number, the part up to the last `@` goes.
    """
    return _LOGIN.sub("***@", _SECRET_PARAMETER.sub(r"\g<name>***", _ADDRESS.sub(_without_user, text)))


def _without_user(found: re.Match[str]) -> str:
    scheme, rest = found["scheme"], found["rest"]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        user, _, host = authority.rpartition("@")
        # The login name of git hosts over SSH; no secret.
        return f"{scheme}{'git' if user == 'git' else '***'}@{host}{rest[len(authority) :]}"
    port = authority.partition(":")[2]
    if "@" in rest and port and not port.isdigit() and not authority.startswith("["):
        return f"{scheme}***@{rest.rpartition('@')[2]}"
    return found[0]
