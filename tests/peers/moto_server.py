"""moto_server, whose conditional writes are atomic, as S3's are.

moto looks whether a name is taken and takes it in two steps, so of two clients at once both may be told that they made the
object. Here the steps of one request are not parted by another's.
"""

import threading

from moto.s3.responses import S3Response
from moto.server import main

LOCK = threading.RLock()


def one_at_a_time(name):
    method = getattr(S3Response, name)

    def locked(self, *args, **kwargs):
        with LOCK:
            return method(self, *args, **kwargs)

    setattr(S3Response, name, locked)


for name in ["put_object", "_key_response_post"]:
    one_at_a_time(name)

main()
