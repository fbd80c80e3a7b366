#!/bin/sh
# The floor for many hosts: as many ssh commands at the same time as there are hosts.
# ssh_many.sh COUNT SSH_CONFIG HOST LINE STDIN: the command in the file LINE with the file STDIN on its input.
count=$1 config=$2 host=$3 stdin=$5
line=$(cat "$4")
jobs=
while [ "$count" -gt 0 ]; do
    # shellcheck disable=SC2029  # the line is the remote shell's
    ssh -F "$config" "$host" "$line" <"$stdin" >/dev/null 2>&1 &
    jobs="$jobs $!"
    count=$((count - 1))
done
for job in $jobs; do
    # 255 is ssh's own: no answer. Any other status is the script's.
    wait "$job"
    [ $? -ne 255 ] || exit 1
done
