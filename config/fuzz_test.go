package config

import (
	"reflect"
	"strings"
	"testing"
)

// Whatever the bytes are, Parse does not panic, and names a line in what it
// refuses. What it takes encodes to a file that means the same.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add(Template())
	f.Add([]byte(minimal + "sync:\n  exclude: [{namespaces: [sandbox-*]}, {resources: [widgets.example.com]}]\n  include: []\ncheck: {interval: 90s}\n"))
	f.Add([]byte(minimal + "sync: {include: [{keys: [\"/a\\0\"], types: [\"\\u2028: #\"]}]}\n"))
	f.Add([]byte(minimal + "hold: [{resources: [a.b], patch: {spec: {\"<<\": -0.0, n: 1e-7, big: 9007199254740993, \"1\": [null, 'yes', \"\\u2028<\"]}}}]\n"))
	f.Add([]byte(minimal + "hold: {defaults: false, workloads: [{namespace: a, selector: 'x in (y)'}]}\nlocal: [{resources: [a.b], fields: [/status]}]\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("{? {}: []}\n"))
	f.Add([]byte("--- \n...\n---\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse("f", data)
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				if strings.HasPrefix(line, "f:0:") || !strings.HasPrefix(line, "f:") {
					t.Errorf("a problem without its line: %q", line)
				}
			}
			return
		}
		text, err := p.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("f", text)
		if err != nil {
			t.Fatalf("what was loaded does not load again: %v\n%s", err, text)
		}
		p.origin, again.origin = origin{}, origin{}
		if !reflect.DeepEqual(p, again) {
			t.Fatalf("loaded %+v\nagain  %+v\nfrom\n%s", p, again, text)
		}
		if _, err := p.MarshalJSON(); err != nil {
			t.Fatal(err)
		}
	})
}
