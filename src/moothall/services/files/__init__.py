"""Files by their hash: uploaded in chunks, stored once, held by other rooms.

What nobody holds goes after a while. Knowing a hash gives nothing: to read or to hold a file a
member must have uploaded it whole, or hold what its holder asks for.
"""

from moothall.action import Service
from moothall.services.files.model import FileSettings

SERVICE = Service(
    member_permissions=("files:upload", "files:read"), settings={"files": FileSettings}
)
