# `make demo` and `make test` need nothing but Python 3.11 or newer; PYTHON=... chooses another.
PYTHON ?= python3
# Processes that run tests side by side.
WORKERS ?= 2
VENV := .venv
# What `make page` exports: the model of the package, or a work directory.
WORKDIR ?= @faces
RUN := $(VENV)/bin/python -m

.PHONY: demo page model node test test-all torture lint benchmark install clean

demo: install  ## synthetic faces -> a trained model, its CSV, its scores, a contact sheet and a report
	rm -rf demo
	$(RUN) keras_landmarks.synthesize --data=demo/faces --train_images=1500 --test_images=200
	$(RUN) keras_landmarks.train --flagfile=flags/demo.cfg --data=demo/faces --prepared=demo/prepared --workdir=demo/work
	$(RUN) keras_landmarks.predict --data=demo/faces --workdir=demo/work --submission=demo/submission.csv --predictions=demo/predictions.npz
	$(RUN) keras_landmarks.evaluate --predictions=demo/predictions.npz --truth=demo/faces/test/test_landmarks.csv --test_points=demo/faces/test/test_points.csv --data=demo/faces --prepared=demo/prepared
	$(RUN) keras_landmarks.draw --data=demo/faces --predictions=demo/predictions.npz --truth=demo/faces/test/test_landmarks.csv --out=demo/contact_sheet.png
	$(RUN) keras_landmarks.report --workdir=demo/work --html=demo/report.html --predictions=demo/predictions.npz --truth=demo/faces/test/test_landmarks.csv --test_points=demo/faces/test/test_points.csv
	$(RUN) keras_landmarks.landmarks demo/faces/test/images/face_000000.jpg --out=demo/found
	@echo "Done. The model of the package, which was not trained here, found demo/found/pictures/face_000000.jpg."
	@echo "What was trained here is in demo/report.html, demo/contact_sheet.png and demo/submission.csv."

page: node model install keras_landmarks/page/node_modules  ## page/index.html: finds points in photos and in the camera's picture, in a browser
	$(RUN) keras_landmarks.export --workdir=$(WORKDIR) --export_precision=float16 --out=page/exported
	cd keras_landmarks/page && npm run --silent build -- ../../page/exported ../../page/index.html
	@echo "page/index.html: open it in a browser"

model:
	@case "$(WORKDIR)" in @*) ;; *) test -e "$(WORKDIR)/model.json" || { echo "$(WORKDIR) holds no model ($(WORKDIR)/model.json): WORKDIR is where train wrote one; without it make page takes @faces" >&2; exit 1; } ;; esac

node:
	@command -v npm >/dev/null || { echo "make page needs Node with npm: https://nodejs.org" >&2; exit 1; }

keras_landmarks/page/node_modules: keras_landmarks/page/package-lock.json
	cd keras_landmarks/page && npm ci --silent
	touch $@

test: install  ## the tests of everything, in minutes
	$(RUN) pytest --numprocesses=$(WORKERS) --dist=loadfile

test-all: install  ## the same and the slow ones
	$(RUN) pytest --numprocesses=$(WORKERS) --dist=loadfile -m 'not torture'

torture: install  ## commands killed at random moments, over a hundred times
	$(RUN) pytest -m torture -s tests/test_torture.py

lint: install  ## style and formatting
	$(RUN) ruff check .
	$(RUN) ruff format --check .

benchmark: install  ## every stage of a training on this machine
	$(RUN) keras_landmarks.benchmark --batch_size=16

install: $(VENV)/installed

$(VENV)/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --quiet --upgrade --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) demo page keras_landmarks/page/node_modules
