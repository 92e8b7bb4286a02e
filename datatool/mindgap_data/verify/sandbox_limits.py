"""Sets the limits of one program and becomes it.

Standalone: executed with ``python -I -c``, standard library only.

Arguments: a JSON object {"rlimits": {name: value}, "uid": int or null}, then the command.
"""

import json
import os
import resource
import sys

limits, command = json.loads(sys.argv[1]), sys.argv[2:]
for name, value in limits["rlimits"].items():
    kind = getattr(resource, name)
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))
if limits["uid"] is not None:
    os.setgroups([])
    os.setgid(limits["uid"])
    os.setuid(limits["uid"])
os.umask(0o077)
os.execv(command[0], command)
