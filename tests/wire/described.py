"""The document of a gateway without plug-ins, from the tables, for tests that need it before a gateway runs."""

from __future__ import annotations

from typing import Final

from admin.operations import OPERATIONS as ADMINISTRATION
from realtime.openapi.document import Document
from realtime.openapi.hot import operations
from realtime.openapi.service import OPERATIONS
from transports import installed

TABLE: Final = (*operations(installed().values()), *OPERATIONS, *ADMINISTRATION)
DOCUMENT: Final = Document(TABLE).value
