"""The floor for one host: stock paramiko, one connection, one exec, everything read. Run by an interpreter of its own."""

import sys

import paramiko


def main(address: str, port: str, user: str, key: str, known_hosts: str, line: str, stdin: str) -> int:
    """Print what the command in the file `line` prints, with the file `stdin` on its input; its exit status."""
    client = paramiko.SSHClient()
    client.load_host_keys(known_hosts)
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    client.connect(address, int(port), user, key_filename=key, allow_agent=False, look_for_keys=False)
    with open(line, encoding="utf-8") as file:
        command = file.read()
    to, out, err = client.exec_command(command)
    with open(stdin, "rb") as file:
        to.channel.sendall(file.read())
    to.channel.shutdown_write()
    sys.stdout.write(out.read().decode(errors="replace"))
    sys.stderr.write(err.read().decode(errors="replace"))
    status = out.channel.recv_exit_status()
    client.close()
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
