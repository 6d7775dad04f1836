# Run `make` for a list of targets.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The race detector costs compile time and some speed; RACE= turns it off.
RACE        ?= -race
# PKG narrows test and short, e.g. make test PKG=./replica/...
PKG         ?= ./...
# SOAK is how long make soak lasts.
SOAK        ?= 30m

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
VULNDB      := https://vuln.go.dev

DEBIAN      := internal/testkit/debian-packages.txt
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null)

.PHONY: help build test short deps tools check bench soak

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build ./understudy
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o understudy ./cmd/understudy

test: deps tools ## everything, against real etcds and control planes
	go test $(RACE) -timeout 45m $(PKG)

short: ## the quick tests only
	go test -short -timeout 10m $(PKG)

deps: ## install the Debian packages that tests need (as root), or name those missing
	@missing=""; \
	for p in $$(sed 's/#.*//' $(DEBIAN)); do \
		dpkg-query -W -f '$${Status}' "$$p" 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ]; then echo "missing Debian packages:$$missing; install them as root: make deps" >&2; exit 1; fi; \
	echo "installing$$missing"; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing >/dev/null

tools: ## build etcd, kube-apiserver and the like into the cache, once per version
	@go run ./internal/testkit/toolchain/build

check: ## gofmt, vet, staticcheck and govulncheck
	@echo gofmt; unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted: $$unformatted" >&2; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...
	@if curl -fsS -o /dev/null -m 10 $(VULNDB)/index/db.json 2>/dev/null; then \
		echo go run $(GOVULNCHECK) ./...; go run $(GOVULNCHECK) ./...; \
	else \
		echo "govulncheck skipped: $(VULNDB) cannot be reached from here"; \
	fi

bench: ## measure beside etcdctl make-mirror and the bare ceiling; BENCH="-run copy -scale 0.1" for less
	go run ./internal/bench $(BENCH)

soak: deps tools ## TestSoak… for SOAK (default 30m)
	UNDERSTUDY_SOAK=$(SOAK) go test -count=1 -timeout 0 -v -run '^TestSoak' $(PKG)
