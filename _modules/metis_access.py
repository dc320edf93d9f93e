"""
Why a file or folder of the master cannot be read or written, in words that name the user.
"""

import errno

import salt.utils.user

__virtualname__ = "metis_access"


def cause(err: OSError, closed: str = "read it") -> str:
    """
    What the system says, and who is not let in where that is it. From a root shell, too, salt-run
    goes over to the master's ``user``: ``salt`` with the official packages.

    err
        What was raised.
    closed
        What the user that Salt runs as may not do, and what there is to do about it.
    """
    text = str(err.strerror)
    if err.errno == errno.EACCES:
        text += f". Salt's user {salt.utils.user.get_user()} may not {closed}"
    return text
