"""Who may come in: the role `admin` does everything, the role `viewer` looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from admin.desk import Operator
from realtime.errors import CredentialRequired, RoleNotHeld
from realtime.framework import asked

if TYPE_CHECKING:
    from realtime.auth import Credentials, Identity

ADMIN = "admin"
VIEWER = "viewer"


def operator(identity: Identity, *, to_write: bool) -> Operator:
    """Return what an identity is here.

    Raises:
        RoleNotHeld: it may not look, or may look and wants to write.
    """
    if ADMIN not in identity.roles and (to_write or VIEWER not in identity.roles):
        wanted = f"{ADMIN!r}" if to_write else f"{ADMIN!r} or {VIEWER!r}"
        raise RoleNotHeld(f"this needs a token with {wanted} among its roles")
    return Operator.of(identity)


async def bearer(credentials: Credentials, *, to_write: bool) -> Operator:
    """Return who calls the API. A token only: tickets and the cookie open no admin's door.

    Raises:
        CredentialRequired: no token came.
        BadCredential: it is not good.
        RoleNotHeld: it lacks the role.
    """
    request = asked()
    if "authorization" not in request.headers:
        raise CredentialRequired("send the token of an admin or viewer: Authorization: Bearer …")
    credential = await credentials.authenticate_fresh(request)
    return operator(credential.identity, to_write=to_write)
