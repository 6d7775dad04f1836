package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Provider gives the handler its answers. All methods answer at once and are
// safe for concurrent use.
type Provider interface {
	// Check is the live account, with at most limit keys of each kind; 0 = all.
	Check(limit int) Check
	// Facts are what /status is judged by, and /readyz.
	Facts() Facts
	// Describe names the object of a key for people.
	Describe(key string) string
}

// keysListed is how many keys of each kind /check lists unless ?limit= says otherwise.
const keysListed = 100

// Handler serves /check, /status, /livez, /readyz and /metrics.
//
// /check answers 200 for consistent, 409 for inconsistent and 503 for unknown;
// as text, or as JSON where the Accept header asks for it, as does /status.
// /readyz answers 503 while the daemon is halted or without a connection.
func Handler(p Provider, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /check", func(w http.ResponseWriter, r *http.Request) { serveCheck(w, r, p) })
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) { serveStatus(w, r, p) })
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { serveReady(w, p) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

func serveCheck(w http.ResponseWriter, r *http.Request, p Provider) {
	limit := keysListed
	if asked := r.URL.Query().Get("limit"); asked != "" {
		n, err := strconv.Atoi(asked)
		if err != nil || n < 0 {
			text(w, http.StatusBadRequest, fmt.Sprintf("limit=%q: it must be a number from 0 (all) on\n", asked))
			return
		}
		limit = n
	}
	c := p.Check(limit)
	status := http.StatusServiceUnavailable
	switch c.Verdict {
	case Consistent:
		status = http.StatusOK
	case Inconsistent:
		status = http.StatusConflict
	}
	if wantsJSON(r) {
		answerJSON(w, status, c.Advised())
		return
	}
	var b strings.Builder
	writeLocal(&b, c)
	// A strings.Builder takes everything.
	_ = c.WriteText(&b, p.Describe)
	text(w, status, b.String())
}

// writeLocal writes the two lines that scripts look for. Where nothing is
// known they have no number that could be taken for a good one.
func writeLocal(b *strings.Builder, c Check) {
	for _, k := range []struct {
		name string
		n    int64
	}{{"missed", c.Missed.Count}, {"surplus", c.Surplus.Count}} {
		count := strconv.FormatInt(k.n, 10)
		if c.Verdict != Consistent && c.Verdict != Inconsistent {
			count = Unknown
		}
		fmt.Fprintf(b, "LOCAL ETCD %s keys: %s\n", k.name, count)
	}
}

func serveStatus(w http.ResponseWriter, r *http.Request, p Provider) {
	s := Judge(p.Facts())
	if wantsJSON(r) {
		answerJSON(w, http.StatusOK, s)
		return
	}
	var b strings.Builder
	_ = s.WriteText(&b, Style{}) // as above
	text(w, http.StatusOK, b.String())
}

func serveReady(w http.ResponseWriter, p Provider) {
	report := p.Facts().Self
	if report == nil {
		text(w, http.StatusServiceUnavailable, "starting\n")
		return
	}
	switch report.State {
	case Streaming, Copying, Waiting, Paused:
		text(w, http.StatusOK, report.State+"\n")
	default:
		body := report.State + ": " + report.Error + "\n"
		if report.Remedy != "" {
			body += "remedy: " + report.Remedy + "\n"
		}
		text(w, http.StatusServiceUnavailable, body)
	}
}

// wantsJSON reports whether the Accept header names JSON before plain text.
func wantsJSON(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		kind, _, _ := strings.Cut(part, ";")
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case "application/json":
			return true
		case "text/plain":
			return false
		}
	}
	return false
}

// text and answerJSON leave an error of the connection to the client, who is gone.

func text(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		text(w, http.StatusInternalServerError, "encode the answer: "+err.Error()+"\n")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
