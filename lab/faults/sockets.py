"""Faults between the web server and the application."""

from __future__ import annotations

from lab.faults.model import Fault, as_root, as_user, fault
from lab.lab import Lab
from lab.payload.control import login
from lab.payload.places import SHARED, SOCKETS, VHOSTS

_STRANGER = """\
require 'socket'
File.umask(0)
body = "Eta Kappa Nu\\n"
answer = "HTTP/1.1 200 OK\\r\\nContent-Length: #{body.bytesize}\\r\\nConnection: close\\r\\n\\r\\n#{body}"
UNIXServer.open(ARGV[0]) do |server|
  loop do
    client = server.accept
    client.readpartial(65_536)
    client.write(answer)
    client.close
  rescue SystemCallError, EOFError
    client&.close
  end
end
"""


def _stranger(lab: Lab) -> None:
    lab.app.write("/usr/local/lib/stranger.rb", _STRANGER)
    lab.app.run(["rm", f"{SOCKETS}/prod.sock"], user="hkn")
    login(
        lab,
        lab.app.name,
        f"setsid /usr/bin/ruby /usr/local/lib/stranger.rb {SOCKETS}/prod.sock </dev/null >/dev/null 2>&1 &",
    )
    lab.app.wait_until(f"curl -sf -o /dev/null --unix-socket {SOCKETS}/prod.sock http://x/")


def _two_upstreams(lab: Lab) -> None:
    # A name that sorts after the right one: whoever takes the first of both still asks the right socket.
    text = lab.app.run(["cat", VHOSTS]).stdout
    second = f"location /tutoring {{\n        proxy_pass http://unix:{SOCKETS}/tutoring.sock;\n    }}\n\n    location / {{"
    lab.app.write(VHOSTS, text.replace("location / {", second, 1))


FAULTS: tuple[Fault, ...] = (
    fault(
        "two-upstreams",
        "the web server's file sends the site's requests to two sockets",
        "SOCK-1",
        _two_upstreams,
    ),
    fault(
        "socket-closed",
        "the web server may not connect to the application's socket",
        "SOCK-2 WEB-1",
        as_user(f"chmod 770 {SOCKETS}/prod.sock"),
    ),
    fault(
        "stranger-listens",
        "another program answers where the application should",
        "SOCK-3 WEB-2",
        _stranger,
    ),
    fault(
        "stray-socket",
        "a dead socket lies in the socket directory",
        "SOCK-4",
        as_user(f"ruby -rsocket -e 'UNIXServer.new(\"{SOCKETS}/old.sock\").close'"),
    ),
    fault(
        "upstream-hard-link",
        "the web server's socket is a hard link, which the application's next start leaves behind",
        "SOCK-5",
        as_user(f"ln -f {SOCKETS}/prod.sock {SOCKETS}/hkn.sock"),
    ),
    fault(
        "upstream-elsewhere",
        "the web server's socket leads to another site of hkn",
        "SOCK-5 SOCK-3 WEB-1 WEB-2",
        as_user(f"ln -sfn dev.sock {SOCKETS}/hkn.sock"),
    ),
    fault(
        "upstream-leads-to-itself",
        "the web server's socket is a link to itself",
        "SOCK-2 SOCK-3 SOCK-5 WEB-1 WEB-2 SOLR-5",
        as_user(f"ln -sfn hkn.sock {SOCKETS}/hkn.sock"),
    ),
    fault(
        "pid-file-wrong",
        "unicorn.pid names a process that is not there",
        "PID-1",
        as_user(f"echo 30000 > {SHARED}/tmp/pids/unicorn.pid"),
    ),
    fault(
        "old-pid-file-left",
        "an upgrade of unicorn left unicorn.pid.oldbin behind",
        "PID-1",
        as_user(f"echo 30000 > {SHARED}/tmp/pids/unicorn.pid.oldbin"),
    ),
    fault("web-server-down", "nginx is stopped", "WEB-1", as_root("systemctl stop nginx")),
)
