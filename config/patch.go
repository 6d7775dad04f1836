package config

import (
	"encoding/json"
	"math"

	"go.yaml.in/yaml/v3"
)

// Patch is a JSON object, written in the file as YAML. It is kept as JSON with
// sorted keys, so that equal patches are equal strings.
type Patch string

// MarshalYAML writes the object as it would stand in a file.
func (p Patch) MarshalYAML() (any, error) {
	var v map[string]any
	if err := yaml.Unmarshal([]byte(p), &v); err != nil { // JSON is YAML, and its whole numbers stay whole
		return nil, err
	}
	return v, nil
}

// patch fills a Patch.
func (d *decoder) patch(n *yaml.Node, into *Patch, path string) {
	if n.Kind != yaml.MappingNode {
		d.problem(n.Line, "%s must be a mapping, such as {spec: {paused: true}}, not %s", path, kindOf(n))
		return
	}
	before := len(d.problems)
	v := d.value(n, path)
	if len(d.problems) > before {
		return
	}
	raw, err := json.Marshal(v)
	if err != nil {
		d.problem(n.Line, "%s: %v", path, err)
		return
	}
	*into = Patch(raw)
}

// value is a node as JSON knows it.
func (d *decoder) value(n *yaml.Node, path string) any {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		d.problem(n.Line, "%s: anchors and aliases are not taken; write the value out", path)
		return nil
	case n.Kind == yaml.MappingNode:
		return d.object(n, path)
	case n.Kind == yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			list[i] = d.value(item, path)
		}
		return list
	}
	var err error
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!str":
		return n.Value
	case "!!bool":
		var v bool
		if err = n.Decode(&v); err == nil {
			return v
		}
	case "!!int":
		var v int64
		if err = n.Decode(&v); err == nil {
			return v
		}
	case "!!float":
		var v float64
		if err = n.Decode(&v); err == nil && !math.IsInf(v, 0) && !math.IsNaN(v) {
			if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
				return int64(v)
			}
			return v
		}
	}
	d.problem(n.Line, "%s: %s is nothing that JSON has; put it in quotes if it is meant as text", path, kindOf(n))
	return nil
}

func (d *decoder) object(n *yaml.Node, path string) map[string]any {
	fields := map[string]any{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" || key.Anchor != "" {
			d.problem(key.Line, "%s: a field name must be a word, not %s; put it in quotes", path, kindOf(key))
			continue
		}
		if _, twice := fields[key.Value]; twice {
			d.problem(key.Line, "%s: field %q is given twice", path, key.Value)
			continue
		}
		fields[key.Value] = d.value(value, path)
	}
	return fields
}
