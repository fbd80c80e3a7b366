"""The web server of the app host, and the authority that its certificate comes from."""

from __future__ import annotations

from lab.lab import Lab
from lab.payload.places import SITE, SOCKETS, VHOSTS
from lab.payload.render import HERE, fill

DAYS = 3650


def lay(lab: Lab) -> None:
    """Make the lab's own authority and the site's certificate, and let nginx serve the site over both schemes."""
    _make_certificates(lab)
    # The public name is a link, as the page has it; the application binds what the link points to.
    lab.app.run(["ln", "-sfn", "prod.sock", f"{SOCKETS}/hkn.sock"], user="hkn")
    point(lab, f"{SOCKETS}/hkn.sock")


def point(lab: Lab, upstream: str) -> None:
    """Let nginx pass the site's requests to the socket ``upstream``."""
    text = (HERE / "templates/virtual.conf").read_text()
    lab.app.write(VHOSTS, fill(text, {"SITE": SITE, "UPSTREAM": upstream}))
    lab.app.run("rm -f /etc/nginx/sites-enabled/default && nginx -t && systemctl restart nginx")


def _make_certificates(lab: Lab) -> None:
    lab.app.run(
        f"""
        set -e
        umask 077
        mkdir -p /var/lib/lab-authority /etc/nginx/tls
        cd /var/lib/lab-authority
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days {DAYS} \\
            -subj '/CN=Lab authority' -keyout ca.key -out ca.pem \\
            -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
        openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \\
            -subj '/CN={SITE}' -keyout /etc/nginx/tls/site.key -out site.csr
        printf 'subjectAltName=DNS:{SITE}\\nextendedKeyUsage=serverAuth\\nbasicConstraints=CA:FALSE\\n' > site.ext
        openssl x509 -req -in site.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days {DAYS} \\
            -extfile site.ext -out /etc/nginx/tls/site.crt
        chmod 644 /etc/nginx/tls/site.crt
        chmod 755 /etc/nginx/tls
        """
    )
    lab.publish("ca.pem", lab.app.run(["cat", "/var/lib/lab-authority/ca.pem"]).stdout)
