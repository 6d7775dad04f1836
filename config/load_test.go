package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/understudy-dr/understudy/remedy"
)

const minimal = `apiVersion: understudy.dev/v1alpha1
kind: Pair
metadata: {name: moscow-spb}
primary:
  name: moscow
  etcd: {endpoints: ["https://10.0.0.1:2379"], ca: ca.crt, cert: reader.crt, key: reader.key}
standby:
  name: spb
  etcd: {endpoints: ["https://10.1.0.1:2379"], ca: /pki/ca.crt}
  kubeconfig: spb.kubeconfig
`

func parse(t testing.TB, text string) *Pair {
	t.Helper()
	p, err := Parse("pair.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDefaults(t *testing.T) {
	p := parse(t, minimal)
	p.origin = origin{}
	etcd := Etcd{
		Endpoints: []string{"https://10.0.0.1:2379"}, CA: "ca.crt", Cert: "reader.crt", Key: "reader.key",
		DialTimeout: Duration{5 * time.Second}, MaxTxnOps: 128, MaxRequestBytes: 1572864,
	}
	standby := etcd
	standby.Endpoints, standby.CA, standby.Cert, standby.Key = []string{"https://10.1.0.1:2379"}, "/pki/ca.crt", "", ""
	want := &Pair{
		APIVersion: APIVersion, Kind: Kind, Metadata: Metadata{"moscow-spb"},
		Primary: Cluster{Name: "moscow", Etcd: etcd},
		Standby: Cluster{Name: "spb", Etcd: standby, Kubeconfig: "spb.kubeconfig"},
		Sync: Sync{Prefix: "/registry/", Profile: "management-cluster", ServiceAccountTokens: "own",
			LeaseTTL: Duration{10 * time.Second}, LagThreshold: Duration{30 * time.Second}},
		Hold:    Hold{Defaults: true},
		Breaker: Breaker{Share: 30, Floor: 7, Window: Duration{10 * time.Minute}},
		Guard:   Guard{Deletions: "repair", Changes: "report"},
		Check:   Check{Interval: Duration{5 * time.Minute}},
		Listen:  "127.0.0.1:8642",
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("got  %+v\nwant %+v", p, want)
	}
}

// Each case changes one line of the minimal file, or adds some at its end, and
// names every problem that is then reported.
func TestProblems(t *testing.T) {
	for name, tc := range map[string]struct {
		line int // to replace; 0 adds at the end
		text string
		want []string
	}{
		"unknown field":           {0, "sync:\n  exlude: []\n", []string{`12: unknown field "exlude" in sync; did you mean "exclude"?`}},
		"letters swapped":         {0, "snyc: {}\n", []string{`11: unknown field "snyc"; did you mean "sync"?`}},
		"wrong case":              {9, "  etcd: {endPoints: [\"https://h:1\"]}", []string{`9: unknown field "endPoints" in standby.etcd; did you mean "endpoints"?`, "9: standby.etcd.endpoints is missing"}},
		"field in another place":  {0, "interval: 5m\n", []string{`11: unknown field "interval"; it belongs in check`}},
		"nothing alike":           {0, "check: {colour: red}\n", []string{`11: unknown field "colour" in check; known here: interval`}},
		"field of a rule":         {0, "sync:\n  exclude:\n    - namespace: [a]\n", []string{`13: unknown field "namespace" in sync.exclude[0]; did you mean "namespaces"?`}},
		"twice":                   {0, "kind: Pair\n", []string{`11: field "kind" in the file is given twice, first in line 2`}},
		"unknown, twice":          {0, "zz: 1\nzz: 2\n", []string{`11: unknown field "zz"; known here: `, `12: field "zz" in the file is given twice, first in line 11`}},
		"apiVersion":              {1, "apiVersion: understudy.dev/v1", []string{`1: apiVersion: unknown value "understudy.dev/v1"; did you mean "understudy.dev/v1alpha1"?`}},
		"kind":                    {2, "kind: Cluster", []string{`2: kind: unknown value "Cluster"; known: Pair`}},
		"profile":                 {0, "sync:\n  profile: managment-cluster\n", []string{`12: sync.profile: unknown value "managment-cluster"; did you mean "management-cluster"?; known: management-cluster, alauda-global, deckhouse, shturval, everything`}},
		"no name":                 {3, "metadata: {}", []string{"3: metadata.name is missing"}},
		"no metadata":             {3, "", []string{"1: metadata.name is missing"}},
		"bad name":                {3, "metadata: {name: Moscow SPB}", []string{`3: metadata.name: "Moscow SPB" is not a name`}},
		"same names":              {8, "  name: moscow", []string{`8: standby.name is "moscow" like primary.name`}},
		"no endpoints":            {6, "  etcd: {ca: a}", []string{"6: primary.etcd.endpoints is missing"}},
		"empty endpoints":         {6, "  etcd: {endpoints: []}", []string{"6: primary.etcd.endpoints is empty"}},
		"null endpoints":          {6, "  etcd: {endpoints: }", []string{"6: primary.etcd.endpoints is missing"}},
		"endpoints a string":      {6, "  etcd: {endpoints: https://10.0.0.1:2379}", []string{`6: primary.etcd.endpoints must be a list, not a string ("https://10.0.0.1:2379")`}},
		"endpoint without scheme": {6, "  etcd: {endpoints: ['10.0.0.1:2379']}", []string{`6: primary.etcd.endpoints[0]: "10.0.0.1:2379" is not a URL; such as https://10.0.0.1:2379`}},
		"endpoint without port":   {6, "  etcd: {endpoints: ['https://10.0.0.1']}", []string{`has no host and port`}},
		"endpoint, other scheme":  {6, "  etcd: {endpoints: ['unix://x:1']}", []string{`begins with unix://`}},
		"endpoint with user":      {6, "  etcd: {endpoints: ['https://u:secret@h:1']}", []string{`6: primary.etcd.endpoints[0]: a URL with a user in it; use username and passwordFile`}},
		"user, other scheme":      {6, "  etcd: {endpoints: ['grpc://u:s3cret@h:1']}", []string{`6: primary.etcd.endpoints[0]: a URL with a user in it; use username and passwordFile`}},
		"user, and no URL":        {6, "  etcd: {endpoints: ['https://u:s3c%zzret@h:1']}", []string{`6: primary.etcd.endpoints[0]: a URL with a user in it; use username and passwordFile`}},
		"endpoint in capitals":    {6, "  etcd: {endpoints: ['HTTPS://h:1']}", []string{`6: primary.etcd.endpoints[0]: "HTTPS://h:1": write https:// in small letters`}},
		"endpoint with path":      {6, "  etcd: {endpoints: ['https://h:1/v3']}", []string{`something after the port`}},
		"mixed endpoints":         {6, "  etcd: {endpoints: ['https://h:1', 'http://h:1']}", []string{`6: primary.etcd.endpoints mixes http:// and https://`}},
		"http with certificates":  {6, "  etcd: {endpoints: ['http://h:1'], ca: ca.crt}", []string{`6: primary.etcd.endpoints are http:// but ca`}},
		"cert without key":        {6, "  etcd: {endpoints: ['https://h:1'], cert: a}", []string{"6: primary.etcd.cert is given without key"}},
		"key without cert":        {6, "  etcd: {endpoints: ['https://h:1'], key: a}", []string{"6: primary.etcd.key is given without cert"}},
		"user without password":   {6, "  etcd: {endpoints: ['https://h:1'], username: a}", []string{"6: primary.etcd.username is given without passwordFile"}},
		"a mapping wanted":        {9, "  etcd: https://10.1.0.1:2379", []string{`9: standby.etcd must be a mapping (endpoints, ca, `}},
		"a string wanted":         {5, "  name: 7", []string{"5: primary.name must be a string, not a number (7); put it in quotes"}},
		"a string, not a truth":   {5, "  name: true", []string{"5: primary.name must be a string, not a truth value (true)"}},
		"a string, not a list":    {5, "  name: [a]", []string{"5: primary.name must be a string, not a list"}},
		"a number wanted":         {9, "  etcd: {endpoints: ['https://h:1'], maxTxnOps: many}", []string{`9: standby.etcd.maxTxnOps must be a whole number, not a string ("many")`}},
		"a whole number":          {9, "  etcd: {endpoints: ['https://h:1'], maxTxnOps: 1.5}", []string{`maxTxnOps must be a whole number, not a number (1.5)`}},
		"number out of range":     {9, "  etcd: {endpoints: ['https://h:1'], maxTxnOps: 1}", []string{`9: standby.etcd.maxTxnOps: 1 is out of range; it may be 2 to 100000`}},
		"size":                    {9, "  etcd: {endpoints: ['https://h:1'], maxRequestBytes: 2MB}", []string{`9: standby.etcd.maxRequestBytes: "2MB" is not a size`}},
		"size out of range":       {9, "  etcd: {endpoints: ['https://h:1'], maxRequestBytes: 15}", []string{`maxRequestBytes: 15 is out of range; it may be 16KiB to 1GiB`}},
		"duration without unit":   {0, "check: {interval: 300}\n", []string{`11: check.interval: "300" is not a duration; write a number with its unit, such as 10s or 5m`}},
		"duration out of range":   {0, "check: {interval: -5m}\n", []string{`11: check.interval: -5m is out of range; it may be 1s to 24h`}},
		"duration a list":         {0, "check: {interval: [5m]}\n", []string{`11: check.interval must be a single value such as 5m, not a list`}},
		"part of a second":        {0, "sync: {leaseTTL: 2500ms}\n", []string{`11: sync.leaseTTL: 2500ms is not a whole number of seconds`}},
		"bad glob":                {0, "sync:\n  include:\n    - names: ['[a']\n", []string{`13: sync.include[0].names[0]: "[a" is not a pattern`}},
		"empty rule":              {0, "sync:\n  exclude:\n    - {}\n", []string{`13: sync.exclude[0] is empty and would match every key`}},
		"empty list in a rule":    {0, "sync:\n  exclude:\n    - {namespaces: [], resources: [pods]}\n", []string{`13: sync.exclude[0].namespaces is empty; fill it or leave it out`}},
		"empty key prefix":        {0, "sync:\n  exclude: [{keys: ['']}]\n", []string{`12: sync.exclude[0].keys[0]: is empty`}},
		"prefix":                  {0, "sync: {prefix: /registry}\n", []string{`11: sync.prefix: "/registry" must begin and end with a slash`}},
		"own prefix":              {0, "sync: {prefix: /understudy/}\n", []string{`11: sync.prefix: "/understudy/" is where understudy keeps its own state`}},
		"hold without patch":      {0, "hold: [{resources: [a.b]}]\n", []string{`11: hold.objects[0].patch is missing`}},
		"hold, patch a list":      {0, "hold:\n  objects:\n    - resources: [a.b]\n      patch: [1]\n", []string{`14: hold.objects[0].patch must be a mapping`}},
		"hold, patch not JSON":    {0, "hold:\n  objects:\n    - resources: [a.b]\n      patch: {spec: {x: .nan}}\n", []string{`14: hold.objects[0].patch: a number (.nan) is nothing that JSON has`}},
		"hold, field twice":       {0, "hold: [{resources: [a.b], patch: {a: 1, a: 2}}]\n", []string{`11: hold.objects[0].patch: field "a" is given twice`}},
		"hold without resources":  {0, "hold: [{patch: {a: 1}}]\n", []string{`11: hold.objects[0].resources is missing`}},
		"hold, neither":           {0, "hold: yes please\n", []string{`11: hold must be a mapping (defaults, objects, workloads)`}},
		"hold, defaults a word":   {0, "hold: {defaults: no thanks}\n", []string{`11: hold.defaults must be true or false`}},
		"workload by both":        {0, "hold: {workloads: [{namespace: a, name: b, selector: c}]}\n", []string{`11: hold.workloads[0] needs either name or selector`}},
		"workload by nothing":     {0, "hold: {workloads: [{namespace: a}]}\n", []string{`11: hold.workloads[0] needs either name or selector`}},
		"workload, no kubeconfig": {10, "hold: {workloads: [{namespace: a, name: b}]}", []string{`10: hold.workloads needs standby.kubeconfig`}},
		"local without pointer":   {0, "local: [{resources: [a.b], fields: [status]}]\n", []string{`11: local[0].fields[0]: "status" is no JSON pointer`}},
		"tokens":                  {0, "sync: {serviceAccountTokens: yours}\n", []string{`11: sync.serviceAccountTokens: unknown value "yours"`}},
		"one address of two":      {0, "access: {addresses: {primary: a.example.com}}\n", []string{`11: access.addresses needs both primary and standby`}},
		"wildcard inside":         {0, "access: {names: [a.*.example.com]}\n", []string{`11: access.names[0]: "a.*.example.com" is not a host name`}},
		"check of nothing":        {0, "access: {checks: [{name: a}]}\n", []string{`11: access.checks[0] needs either exec or http`}},
		"check, wrong field":      {0, "access: {checks: [{name: a, exec: [b], status: 200}]}\n", []string{`11: access.checks[0].status belongs to http`}},
		"check, other field":      {0, "access: {checks: [{name: a, http: 'https://a', exitCode: 0}]}\n", []string{`11: access.checks[0].exitCode belongs to exec`}},
		"checks of one name":      {0, "access: {checks: [{name: a, exec: [b]}, {name: a, exec: [c]}]}\n", []string{`11: access.checks[1] is called "a" like another`}},
		"check, no URL":           {0, "access: {checks: [{name: a, http: '{vip}/x'}]}\n", []string{`11: access.checks[0].http: "{vip}/x" is not a URL`}},
		"check, a password":       {0, "access: {checks: [{name: a, http: 'https://u:s3cret@a'}]}\n", []string{`11: access.checks[0].http: a URL with a user in it`}},
		"check, no expression":    {0, "access: {checks: [{name: a, exec: [b], match: '('}]}\n", []string{`11: access.checks[0].match: "(" is not a regular expression`}},
		"skipped without a why":   {0, "access: {skip: [{checks: [ports]}]}\n", []string{`11: access.skip[0].why is missing`}},
		"listen":                  {0, "listen: 8642\n", []string{`11: listen must be a string, not a number (8642)`}},
		"listen without port":     {0, "listen: localhost\n", []string{`11: listen: "localhost" is not host:port`}},
		"alias":                   {3, "metadata: &m {name: a}", []string{"3: metadata: anchors and aliases are not taken"}},
		"tab":                     {5, "\tname: moscow", []string{`5: not YAML: found character that cannot start any token`}},
		"second document":         {0, "---\nkind: Pair\n", []string{`11: a second document begins here`}},
		"several":                 {0, "lisen: x\nsync: {leaseTTL: 1s, profil: x}\n", []string{`11: unknown field "lisen"`, `12: sync.leaseTTL: 1s is out of range`, `12: unknown field "profil" in sync`}},
	} {
		t.Run(name, func(t *testing.T) {
			lines := strings.SplitAfter(minimal, "\n")
			if tc.line > 0 {
				lines[tc.line-1] = tc.text + "\n"
			} else {
				lines = append(lines, tc.text)
			}
			_, err := Parse("pair.yaml", []byte(strings.Join(lines, "")))
			var got *Problems
			if !errors.As(err, &got) {
				t.Fatalf("Parse: %v, want *Problems", err)
			}
			if remedy.CodeOf(err) != remedy.Usage || remedy.Of(err) == "" {
				t.Errorf("code %d, remedy %q", remedy.CodeOf(err), remedy.Of(err))
			}
			reported := strings.Split(err.Error(), "\n")
			if len(reported) != len(tc.want) {
				t.Fatalf("%d problems, want %d:\n%v", len(reported), len(tc.want), err)
			}
			for i, want := range tc.want {
				if regexp.MustCompile(`^\d+: `).MatchString(want) {
					want = "pair.yaml:" + want
				}
				if !strings.Contains(err.Error(), want) {
					t.Errorf("problem %d: got\n%v\nwant …%s…", i+1, err, want)
				}
			}
		})
	}
	for _, nothing := range []string{"", "# only a comment\n", "---\n"} {
		if _, err := Parse("pair.yaml", []byte(nothing)); err == nil {
			t.Errorf("%q was taken", nothing)
		}
	}
	for _, other := range []string{"[]", "hello", "7", "{a: [}"} {
		if _, err := Parse("pair.yaml", []byte(other)); err == nil || !strings.HasPrefix(err.Error(), "pair.yaml:1: ") {
			t.Errorf("%q: %v", other, err)
		}
	}
}

// A patch is kept as JSON whatever it is written in, and a list under hold is
// the short form of its objects.
func TestHold(t *testing.T) {
	short := parse(t, minimal+"hold:\n  - resources: [a.b]\n    patch: {spec: {on: false, n: 3.0, gone: null}}\n")
	long := parse(t, minimal+"hold:\n  defaults: true\n  objects: [{resources: [a.b], patch: {\"spec\": {\"gone\": null, \"n\": 3, \"on\": false}}}]\n")
	want := Hold{Defaults: true, Objects: []HeldObjects{{Resources: []string{"a.b"}, Patch: `{"spec":{"gone":null,"n":3,"on":false}}`}}}
	if !reflect.DeepEqual(short.Hold, want) || !reflect.DeepEqual(long.Hold, want) {
		t.Errorf("short %+v\nlong  %+v\nwant  %+v", short.Hold, long.Hold, want)
	}
	if at := short.At("hold.objects[0].patch"); at != "pair.yaml:13" {
		t.Errorf("the patch of the short form stands at %s", at)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "pair.yaml")
	if err := os.WriteFile(file, []byte(minimal), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		p.Primary.Etcd.CA:    filepath.Join(dir, "ca.crt"), // beside the configuration
		p.Standby.Kubeconfig: filepath.Join(dir, "spb.kubeconfig"),
		p.Standby.Etcd.CA:    "/pki/ca.crt",
		p.Standby.Encryption: "",
		p.File():             file,
	} {
		if got != want {
			t.Errorf("path %q, want %q", got, want)
		}
	}

	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err = p.WrongFiles(time.Now())
	var missing *Problems
	if !errors.As(err, &missing) || len(missing.List) != 5 || !strings.Contains(err.Error(), "ca.crt: there is no whole certificate in it") ||
		!strings.Contains(err.Error(), file+":10: standby.kubeconfig: "+p.Standby.Kubeconfig+": no such file") {
		t.Errorf("WrongFiles: %v", err)
	}

	absent := filepath.Join(dir, "absent.yaml")
	_, err = Load(absent)
	if !errors.Is(err, fs.ErrNotExist) || remedy.CodeOf(err) != remedy.Usage ||
		!strings.Contains(err.Error(), absent+": no such file; write one with: understudy init") {
		t.Errorf("Load of no file: %v", err)
	}
	if _, err := Load(dir); remedy.CodeOf(err) != remedy.Usage {
		t.Errorf("Load of a directory: %v", err)
	}
	big := filepath.Join(dir, "big.yaml")
	if err := os.WriteFile(big, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(big); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("Load of a big file: %v", err)
	}
}

func TestAt(t *testing.T) {
	p := parse(t, minimal+"sync:\n  exclude:\n    - names: [a]\n    - resources:\n        - pods\n")
	for field, want := range map[string]string{
		"sync.exclude[0]":              "pair.yaml:13",
		"sync.exclude[1].resources":    "pair.yaml:14",
		"sync.exclude[1].resources[0]": "pair.yaml:15",
		"sync.exclude[1].names":        "pair.yaml:14",
		"sync.profile":                 "pair.yaml:11",
		"check.interval":               "pair.yaml",
		"primary.etcd.ca":              "pair.yaml:6",
	} {
		if got := p.At(field); got != want {
			t.Errorf("At(%q) = %q, want %q", field, got, want)
		}
	}
}

// The template must name every field, and load both as it is and with every
// optional field switched on.
func TestTemplate(t *testing.T) {
	parse(t, string(Template()))
	all := regexp.MustCompile(`(?m)^( *)#(\S)`).ReplaceAllString(string(Template()), "$1$2")
	p := parse(t, all)
	var check func(v reflect.Value, path string)
	check = func(v reflect.Value, path string) {
		for f, fv := range fields(v) {
			at := join(path, fieldName(f))
			if p.origin.lines[at] == 0 {
				t.Errorf("the template does not name %s", at)
			}
			switch {
			case fv.Kind() == reflect.Struct && f.Tag.Get("default") == "":
				check(fv, at)
			case fv.Kind() != reflect.Slice && f.Tag.Get("default") != "":
				fresh := reflect.New(fv.Type()).Elem()
				setDefault(fresh, f.Tag)
				if !reflect.DeepEqual(fresh.Interface(), fv.Interface()) {
					t.Errorf("the template sets %s to %v; the default is %v", at, fv, fresh)
				}
			}
		}
	}
	check(reflect.ValueOf(p).Elem(), "")
	for name := range fields(reflect.ValueOf(Rule{})) {
		if !strings.Contains(all, fieldName(name)+": [") {
			t.Errorf("no rule of the template has %s", fieldName(name))
		}
	}
}

// A selector of blanks chooses everything, which nobody means by it.
func TestSelectorOfBlanks(t *testing.T) {
	_, err := Parse("f", []byte(minimal+"hold: {workloads: [{namespace: a, selector: ' '}]}\n"))
	if err == nil || !strings.Contains(err.Error(), "11: hold.workloads[0].selector is empty, which is every Deployment of the namespace") {
		t.Errorf("%v", err)
	}
}
