#!/bin/sh
# Lists the crates that are linked into isoplan: name, version, licence. packaging/crates.txt is what it prints.
set -eu
cd "$(dirname "$0")/.."
${CARGO:-cargo} tree --locked --edges normal --target x86_64-unknown-linux-gnu --prefix none --no-dedupe \
    --format '{p}	{l}' | sed 's/ (proc-macro)//; s/ (\/[^)]*)//' | grep -v '^isoplan ' | LC_ALL=C sort -u
