"""What another user of the machine may try: `python3 -I intruder.py` with a plan on standard input.

Runs under whatever Python the system has, as a user without rights, and imports nothing of the
project. Prints what it could do, as JSON: in the end the list should be empty.
"""

import ctypes
import errno
import http.client
import json
import os
import socket
import sys

REFUSED = (errno.EACCES, errno.EPERM, errno.ENOENT, errno.ECONNREFUSED, errno.ESRCH)


def attempt(what, act):
    """Note what succeeded; a refusal is what should happen, anything else is noted too."""
    try:
        act()
    except OSError as error:
        if error.errno in REFUSED:
            tried.append(what)
            return
        done.append(f"{what}: {error}")
        return
    done.append(what)


def read(path):
    with open(path, "rb") as file:
        file.read(1)


def write(path):
    os.close(os.open(path, os.O_WRONLY))


def connect(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(path)
    finally:
        sock.close()


def ask(port, method, target, headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, target, b"{}" if method == "POST" else None, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def trace(pid):
    """Attach as a debugger would."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, pid, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def read_memory(pid, address):
    class Iovec(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]

    buffer = ctypes.create_string_buffer(8)
    ours = Iovec(ctypes.addressof(buffer), 8)
    theirs = Iovec(address, 8)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.process_vm_readv(pid, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0) < 0:
        raise OSError(ctypes.get_errno(), "process_vm_readv")


def main(plan):
    for path in plan["files"]:
        attempt(f"read {path}", lambda path=path: read(path))
        attempt(f"write {path}", lambda path=path: write(path))
        attempt(f"remove {path}", lambda path=path: os.unlink(path))
    for folder in plan["folders"]:
        attempt(f"list {folder}", lambda folder=folder: os.listdir(folder))
        attempt(f"write into {folder}", lambda folder=folder: os.mkdir(folder + "/intruder"))
    for path in plan["sockets"]:
        attempt(f"connect to {path}", lambda path=path: connect(path))
    for pid in plan["pids"]:
        for name in ("environ", "mem", "maps", "smaps_rollup", "io"):
            attempt(f"read /proc/{pid}/{name}", lambda p=pid, n=name: read(f"/proc/{p}/{n}"))
        attempt(f"list /proc/{pid}/fd", lambda pid=pid: os.listdir(f"/proc/{pid}/fd"))
        for fd in range(12):
            attempt(f"open /proc/{pid}/fd/{fd}", lambda p=pid, f=fd: read(f"/proc/{p}/fd/{f}"))
        attempt(f"trace {pid}", lambda pid=pid: trace(pid))
        attempt(f"read the memory of {pid}", lambda pid=pid: read_memory(pid, 0x400000))
        for number in (0, 15, 9):
            attempt(f"signal {number} to {pid}", lambda p=pid, n=number: os.kill(p, n))
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            if plan["marker"].encode() in file.read():
                done.append(f"the token is in the command line of {pid}")
    for name in os.listdir("/dev/shm"):
        path = f"/dev/shm/{name}"
        if os.stat(path).st_uid == plan["uid"] and name not in plan["shared memory before"]:
            attempt(f"read {path}", lambda path=path: read(path))
    with open("/proc/net/unix") as file:
        for line in file:
            path = line.split()[-1]
            if path.startswith("@") and path not in plan["abstract before"]:
                attempt(f"connect to {path}", lambda p=path: connect("\0" + p[1:]))
    for port in plan["http ports"]:
        for method, target in plan["routes"]:
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"X-Forwarded-User": "root"}):
                status = ask(port, method, target, headers)
                tried.append(f"{method} {target}")
                if status != 401:
                    done.append(f"{method} {target} with {headers}: {status}")


done = []
tried = []
main(json.load(sys.stdin))
print(json.dumps({"uid": os.getuid(), "done": done, "tried": len(tried)}))
