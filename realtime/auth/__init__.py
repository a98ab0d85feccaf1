"""Who asks, and what they may see: tokens, tickets and the cookie, down to one `Identity` (PROTOCOL §3).

`Credentials` is the door; the other modules are its parts. Rules:

* a credential that is present and bad is refused, never taken for an anonymous client, whatever else came along;
* the algorithm is pinned by the configuration and never read from a token;
* tickets have a key of their own, derived from the secret: no token is ever a ticket, nor the reverse;
* no token, ticket or key is in an error's detail or in a `repr`.
"""

from realtime.auth.credentials import Credential, Credentials
from realtime.auth.identity import Identity, somebody
from realtime.auth.keys import KeyUnknown
from realtime.auth.tickets import Content, Ticket

__all__ = ["Content", "Credential", "Credentials", "Identity", "KeyUnknown", "Ticket", "somebody"]
