package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/understudy-dr/understudy/remedy"
)

// maxFile bounds what is read; a real file has a few KiB.
const maxFile = 1 << 20

// origin is where the values of a Pair stand.
type origin struct {
	file  string
	lines map[string]int // path of a field → its line
}

// Load reads the configuration file at path. Relative paths in it become
// relative to the directory of the file.
//
// Its errors ask for exit status remedy.Usage. A missing file is
// fs.ErrNotExist; a file with mistakes is a *Problems.
func Load(path string) (*Pair, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	p, err := Parse(path, data)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	for _, f := range p.files() {
		if *f.value != "" && !filepath.IsAbs(*f.value) {
			*f.value = filepath.Join(dir, *f.value)
		}
	}
	return p, nil
}

func read(path string) ([]byte, error) {
	usage := func(err error, remedyText string) error {
		return &remedy.Error{Err: err, Remedy: remedyText, Code: remedy.Usage}
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usage(&missingFile{path}, "or name another file with --config or UNDERSTUDY_CONFIG")
	}
	if err != nil {
		return nil, usage(fmt.Errorf("read config: %w", err), "make the file readable for this user")
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, usage(fmt.Errorf("read config: %w", err), "name a readable file with --config or UNDERSTUDY_CONFIG")
	}
	if len(data) > maxFile {
		return nil, usage(fmt.Errorf("%s: larger than 1 MiB", path), "this is not a configuration of understudy; see: understudy init")
	}
	return data, nil
}

type missingFile struct{ path string }

func (e *missingFile) Error() string {
	return fmt.Sprintf("%s: no such file; write one with: understudy init --config %s", e.path, e.path)
}

func (e *missingFile) Unwrap() error { return fs.ErrNotExist }

// Parse is Load without the reading: name stands in the errors, and paths stay
// as they are written.
func Parse(name string, data []byte) (*Pair, error) {
	p := &Pair{origin: origin{file: name, lines: map[string]int{}}}
	d := &decoder{lines: p.origin.lines}
	root, err := document(data)
	switch {
	case err != nil:
		d.problems = append(d.problems, *err)
	default:
		d.decode(root, reflect.ValueOf(p).Elem(), "", reflect.StructTag(""))
		if root.Kind == yaml.MappingNode {
			d.check(p)
		}
	}
	if len(d.problems) == 0 {
		return p, nil
	}
	slices.SortStableFunc(d.problems, func(a, b Problem) int { return a.Line - b.Line })
	return nil, &remedy.Error{
		Err:    &Problems{File: name, List: d.problems},
		Remedy: "correct the file, then: understudy config validate --config " + name,
		Code:   remedy.Usage,
	}
}

// document returns the one YAML document that data has to consist of.
func document(data []byte) (*yaml.Node, *Problem) {
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	var doc, second yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0:
		return nil, &Problem{Line: 1, Text: "the file is empty; see: understudy init"}
	case err != nil:
		return nil, syntaxProblem(err)
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		return nil, &Problem{Line: second.Line, Text: "a second document begins here; one file describes one pair"}
	case !errors.Is(err, io.EOF):
		return nil, syntaxProblem(err)
	}
	return doc.Content[0], nil
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

func syntaxProblem(err error) *Problem {
	text := err.Error()
	p := &Problem{Line: 1}
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			p.Line = n
		}
		text = text[len(m[0]):]
	}
	p.Text = "not YAML: " + text
	return p
}

// File is the path that the pair was loaded from.
func (p *Pair) File() string { return p.origin.file }

// At says where a field stands, as "pair.yaml:12"; for a field that is not in
// the file, where the nearest one around it does. field is written as in
// errors: "sync.exclude[0].resources".
func (p *Pair) At(field string) string {
	for field != "" {
		if line := p.origin.lines[field]; line > 0 {
			return fmt.Sprintf("%s:%d", p.origin.file, line)
		}
		field = field[:max(strings.LastIndexAny(field, ".["), 0)]
	}
	return p.origin.file
}

// YAML is the whole configuration with every default filled in. Parsing it
// gives an equal Pair.
func (p *Pair) YAML() ([]byte, error) {
	var out strings.Builder
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(p); err != nil {
		return nil, fmt.Errorf("encode config: %w", err)
	}
	return []byte(out.String()), enc.Close()
}

// MarshalJSON writes the same fields as YAML.
func (p *Pair) MarshalJSON() ([]byte, error) {
	data, err := p.YAML()
	if err != nil {
		return nil, err
	}
	return sigsyaml.YAMLToJSON(data)
}

type fileField struct {
	path  string
	value *string
}

// files are the fields that hold the path of a file.
func (p *Pair) files() []fileField {
	var out []fileField
	for _, side := range []struct {
		name string
		*Cluster
	}{{"primary", &p.Primary}, {"standby", &p.Standby}} {
		name, c := side.name, side.Cluster
		out = append(out,
			fileField{name + ".etcd.ca", &c.Etcd.CA},
			fileField{name + ".etcd.cert", &c.Etcd.Cert},
			fileField{name + ".etcd.key", &c.Etcd.Key},
			fileField{name + ".etcd.passwordFile", &c.Etcd.PasswordFile},
			fileField{name + ".kubeconfig", &c.Kubeconfig},
			fileField{name + ".encryption", &c.Encryption},
		)
	}
	return append(out, fileField{"access.ca", &p.Access.CA})
}

// RelativeFiles are the fields of a configuration as Parse reads it whose paths
// count from the directory of the file.
func (p *Pair) RelativeFiles() (fields []string) {
	for _, f := range p.files() {
		if *f.value != "" && !filepath.IsAbs(*f.value) {
			fields = append(fields, f.path)
		}
	}
	return fields
}
