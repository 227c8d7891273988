# The one entry for developers: `just` lists what there is.

# The virtual environment: the one that this `just` was installed into, else `.venv` here.
own := parent_directory(parent_directory(just_executable()))
venv := if path_exists(own / "pyvenv.cfg") == "true" { own } else { justfile_directory() / ".venv" }
python := venv / "bin" / "python"
stamp := sha256(sha256_file("pyproject.toml") + justfile_directory())

[private]
default:
    @"{{ just_executable() }}" --list

# Install everything for development, the real engine on CPU included; instant when done already
setup: install
    @"{{ python }}" -m consumers.setup

# Install the package with its development tools, without the engine
[private]
install:
    @test -x "{{ python }}" || python3 -m venv "{{ venv }}" \
        || { echo "setup: python3 cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
    @"{{ python }}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
        || { echo "setup: Python 3.11 or newer is needed; remove {{ venv }} and make it with a newer python3" >&2; exit 1; }
    @test "$(cat "{{ venv }}/overbook.stamp" 2>/dev/null)" = "{{ stamp }}" \
        || { echo "setup: installing the package and its tools into {{ venv }} (about a minute)" >&2 \
        && "{{ python }}" -m pip install --quiet --disable-pip-version-check --editable '.[dev]' \
        && echo "{{ stamp }}" > "{{ venv }}/overbook.stamp"; } \
        || { echo "setup: pip failed, its message is above; is the package index reachable?" >&2; exit 1; }

# The main job, with a real engine: a broker, two consumers, one of them killed
demo: setup
    "{{ venv }}/bin/fleet" demo

# All that CI checks: format, lint, types, imports and every test, two files at a time
check: setup && (test-all "-n" "2" "--dist" "loadgroup")
    "{{ python }}" -m ruff format --check
    "{{ python }}" -m ruff check
    "{{ python }}" -m mypy
    "{{ venv }}/bin/lint-imports"

# Format, and fix what the linter can fix
fix: install
    "{{ python }}" -m ruff format
    "{{ python }}" -m ruff check --fix

# Unit and property tests: seconds
test *args: install
    "{{ python }}" -m pytest -q -m "not (node or vllm)" tests/unit tests/property {{ args }}

# Every test that needs no GPU: minutes
test-all *args: setup
    "{{ python }}" -m pytest {{ args }}

# Tests that need an NVIDIA GPU
gpu *args: install
    "{{ python }}" -m pytest -m gpu {{ args }}

# Benchmarks, all or those that are named: they assert nothing and print JSON
bench *args: setup
    "{{ python }}" -m tests.bench {{ args }}

# Known vulnerabilities in what is installed; strict, for what the service does not know is no all-clear
audit: install
    "{{ python }}" -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.10,<3'
    "{{ python }}" -m pip list --exclude-editable --format freeze > "{{ venv }}/audited.txt"
    "{{ venv }}/bin/pip-audit" --strict --disable-pip --no-deps --requirement "{{ venv }}/audited.txt"

# Long runs under random faults. Its one test outlasts the watchdog, whose dump of stacks may crash.
soak *args: install
    "{{ python }}" -m pytest -m soak -s -o faulthandler_timeout=0 {{ args }}

# A broker and consumers on this machine, until Ctrl-C
up *args: setup
    "{{ venv }}/bin/fleet" up {{ args }}

# Record anew the incident that `fleet top --demo` shows: a scripted fleet in trouble, five minutes
incident: install
    "{{ python }}" -m tests.showcase.incident

# Draw README.md's pictures of the dashboard anew from that recording
pictures: install
    "{{ python }}" -m tests.showcase.picture docs/pictures

# Write docs/schema/ anew from the wire structs
schema: install
    "{{ python }}" -m fleet.schema docs/schema
