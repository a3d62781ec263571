# The two commands of the README: `make demo` (the main job, no network, no key) and `make test`.
PYTHON := .venv/bin/python
export PYTHONPATH := src
AUDIO ?= datasets/demo
MODELS ?= runs/latest/bird_detector_int8.tflite
SECONDS ?= 600
DEMO ?=
SEEDS ?= 1,2,3
FAMILY ?= all

.PHONY: help setup setup-main demo test test-slow lint clean bench-features bench-card fuzz-card bench-scan bench-device registry-table leaderboard bench-accuracy bench-intervals bit-identity \
	check-cores board-matrix check-reference fuzz-core fuzz-lora fuzz-compiler fuzz-families fuzz-models fuzz-parsers simulate-day soak check-live check-mqtt bench-cluster bench-cluster-faults bench-training-memory bench-hdc convert-matrix download-kills check-package

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make setup            .venv and system packages (all that tests and emulated boards need)
setup:
	@scripts/setup.sh all

setup-main:
	@scripts/setup.sh main

## make demo             the whole job on synthesized recordings, to headers and report   [DEMO="--size small"]
demo: setup-main
	$(PYTHON) -m cheep demo $(DEMO)

## make test             set up, lint, pass the tests
test: setup lint
	$(PYTHON) -m pytest -n 2 --dist loadgroup -m "not slow"

## make test-slow        what make test leaves out: every cell of the conversion matrix, every command of a project's README
test-slow:
	$(PYTHON) -m pytest -n 2 --dist loadgroup -m slow

## make lint             ruff, types (mypy), and the rooms of docs/architecture.md (import-linter)
lint:
	$(PYTHON) -m ruff check src tests scripts
	$(PYTHON) -m mypy
	$(dir $(PYTHON))lint-imports --no-cache --no-logo

## make clean            remove runs, builds and caches
clean:
	rm -rf runs build .cheep .pytest_cache .ruff_cache

##
## Campaigns, each on its own (their last results stand in the documents):
## make bench-features   front end against librosa, as ratios
bench-features:
	$(PYTHON) scripts/bench_features.py --json

## make bench-scan       cheep scan on one core, by kind of file, with what bounds it; memory   [MODEL=run]
bench-scan:
	$(PYTHON) scripts/bench_scan.py --parts speed memory emulated --json $(if $(MODEL),--model $(MODEL))

## make bench-device     instructions, RAM and flash on the emulated Cortex-M4F   [MODELS="a.tflite b.tflite"]
bench-device:
	$(PYTHON) scripts/bench_device.py --json $(MODELS)

## make registry-table   what every network of the registry costs: docs/registry.md
registry-table:
	$(PYTHON) scripts/bench_registry.py --write docs/registry.md

## make bench-accuracy   a committed recipe, cross-validated   TASK=bird TRAIN=folder
bench-accuracy:
	$(PYTHON) scripts/bench_accuracy.py --task $(TASK) --train $(TRAIN) --json

## make check-cores      the same event lines on every core that compilers and QEMU offer
check-cores:
	$(PYTHON) scripts/check_cores.py --json

## make bench-intervals  do intervals of false alarms hold for other groups and kinds   KEEP=folder of bench-accuracy --keep
bench-intervals:
	$(PYTHON) scripts/bench_intervals.py $(KEEP) --json

## make leaderboard      every recipe anew, with three seeds: docs/leaderboard.md, docs/results.md   TRAIN=folder [SEEDS=1,2,3]
leaderboard:
	$(PYTHON) scripts/bench_leaderboard.py --train $(TRAIN) --seeds $(SEEDS)

## make board-matrix     every board, backend and the latest run: docs/boards.md   RECORDINGS=files
board-matrix:
	$(PYTHON) scripts/board_matrix.py $(RECORDINGS) --write docs/boards.md

## make check-reference  int8 bytes of the latest run: TFLM, TFLite reference interpreter, compiled C
check-reference:
	$(PYTHON) scripts/check_reference.py

## make bit-identity     an hour of recordings: x86-64 against the emulated core, -O0 to -O3   [AUDIO=folder]
bit-identity:
	$(PYTHON) scripts/check_bit_identity.py $(AUDIO) --minutes 60

## make fuzz-core        the C core: any PCM, chunking and settings   [SECONDS=600]
fuzz-core:
	scripts/fuzz_core.sh $(SECONDS)

## make fuzz-lora        payloads for LoRa   [SECONDS=600]
fuzz-lora:
	scripts/fuzz_lora.sh $(SECONDS)

## make fuzz-compiler    damaged and hostile .tflite files   [SECONDS=600]
fuzz-compiler:
	$(PYTHON) scripts/fuzz_compiler.py --seconds $(SECONDS)

## make fuzz-families    the same, one family of operators after another, SECONDS each   [SECONDS=600] [FAMILY=all]
fuzz-families:
	$(PYTHON) scripts/fuzz_compiler.py --seconds $(SECONDS) --family $(FAMILY)

## make fuzz-models      damaged and hostile models into convert, inspect and verify   [SECONDS=600]
fuzz-models:
	$(PYTHON) scripts/fuzz_models.py --seconds $(SECONDS)

## make bench-card       models from a card: power cuts, fuzzing, signatures   [SECONDS=600]
bench-card:
	$(PYTHON) scripts/bench_card.py --seconds $(SECONDS) --json

## make fuzz-card        models from a card: damaged files and flash alone   [SECONDS=600]
fuzz-card:
	$(PYTHON) scripts/bench_card.py --parts fuzz --seconds $(SECONDS) --json

## make fuzz-parsers     label and metadata parsers   [SECONDS=600]
fuzz-parsers:
	$(PYTHON) scripts/fuzz_parsers.py --seconds $(SECONDS)

## make download-kills   the downloader killed a hundred times
download-kills:
	$(PYTHON) scripts/check_download_kills.py

## make check-package    the wheel in an environment of its own: demo, a project, every command of its README
check-package:
	$(PYTHON) -m pytest tests/house/test_package.py -m ""

## make soak             24 hours of compressed time through the application, gaps and clock wrap included
soak:
	$(PYTHON) scripts/soak_application.py --hours 24

## make check-live       recordings through a virtual sound card into the listener   RECORDINGS=files [MODEL=run]
check-live:
	$(PYTHON) scripts/check_soundcard.py $(RECORDINGS) $(if $(MODEL),--model $(MODEL))

## make check-mqtt       1,000 events through 50 outages of a broker, cut lines and 20 resets: board's code and laptop's bridge
check-mqtt:
	$(PYTHON) scripts/check_mqtt.py --json

## make bench-cluster-faults   a season on a cluster that breaks 100 times (root: network namespaces)
bench-cluster-faults:
	$(PYTHON) scripts/bench_cluster_faults.py --json

## make bench-cluster    processor time of client, scheduler and workers per task, and what follows for 32 workers
bench-cluster:
	$(PYTHON) scripts/bench_cluster.py --json

## make bench-training-memory  1,000 hours of windows: the peak memory of training
bench-training-memory:
	$(PYTHON) scripts/bench_training_memory.py --json

## make bench-hdc        the hyperdimensional head's accuracy study   DATA=folder
bench-hdc:
	$(PYTHON) scripts/bench_hdc.py --data $(DATA) --work build/hdc

## make convert-matrix   every cell of the conversion matrix, slow and quick
convert-matrix:
	$(PYTHON) -m pytest tests/convert/test_convert_matrix.py

## make simulate-day     24 hours of audio through front end and detector
simulate-day:
	mkdir -p build
	cc -std=c11 -O2 -ffp-contract=off -Ifirmware/common/include tests/c/test_core.c \
		firmware/common/src/cheep_frontend.c firmware/common/src/cheep_fft.c firmware/common/src/cheep_columns.c \
		firmware/common/src/cheep_detector.c firmware/common/src/cheep_scores.c -lm -o build/day
	build/day day
