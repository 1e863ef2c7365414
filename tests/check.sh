#!/usr/bin/env bash
# What `make check` runs: the tests that want no sanitizer and no linter.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/parts.bash

part layers check-layers
part unit check-unit
part "fuzz, corpora" check-fuzz
part drive check-drive
totals
