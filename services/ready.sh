#!/bin/bash
# Health check of a container: 0 if `/readyz` of HTTP_ADDR, or the path that is given, answers 200; else 1 and why not.
set -uo pipefail
exec 3<>"/dev/tcp/127.0.0.1/${HTTP_ADDR##*:}" || exit 1
printf 'GET %s HTTP/1.0\r\n\r\n' "${1:-/readyz}" >&3
read -r _ status _ <&3
[ "$status" = 200 ] || { tail -n 1 <&3; exit 1; }
