package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// AddExclude gives a configuration file with more rules in sync.exclude. All else
// stays as it is written, comments and empty lines too; only a list or mapping in
// braces that they go into is written out in lines. rules are lines of YAML,
// comments among them, each rule beginning with "- ".
func AddExclude(file []byte, rules []string) ([]byte, error) {
	for range 3 { // sync and exclude may have to be written out first
		root, problem := document(file)
		if problem != nil {
			return nil, errors.New(problem.Text)
		}
		lines := strings.Split(strings.TrimSuffix(string(file), "\n"), "\n")
		key, sync := child(root, "sync")
		switch {
		case key == nil:
			return wholeLines(append(lines, append([]string{"", "sync:", "  exclude:"}, indented(rules, 4)...)...)), nil
		case flows(sync):
			var err error
			if file, err = writeOut(lines, key, sync); err != nil {
				return nil, err
			}
			continue
		case sync.Kind != yaml.MappingNode: // sync: and nothing after it
			at := key.Column + 1
			return wholeLines(slices.Insert(lines, key.Line, append([]string{strings.Repeat(" ", at) + "exclude:"}, indented(rules, at+2)...)...)), nil
		}
		list, exclude := child(sync, "exclude")
		switch {
		case list == nil:
			at := sync.Content[0].Column - 1
			return wholeLines(slices.Insert(lines, key.Line, append([]string{strings.Repeat(" ", at) + "exclude:"}, indented(rules, at+2)...)...)), nil
		case flows(exclude):
			var err error
			if file, err = writeOut(lines, list, exclude); err != nil {
				return nil, err
			}
		case exclude.Kind == yaml.SequenceNode:
			return wholeLines(slices.Insert(lines, list.Line, indented(rules, exclude.Column-1)...)), nil
		default:
			return wholeLines(slices.Insert(lines, list.Line, indented(rules, list.Column+1)...)), nil
		}
	}
	return nil, errors.New("sync.exclude is written in a way that cannot be extended; write it as a list in lines")
}

func wholeLines(lines []string) []byte { return []byte(strings.Join(lines, "\n") + "\n") }

func indented(lines []string, n int) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = strings.Repeat(" ", n) + line
	}
	return out
}

// child is a field of a mapping; nil = it has none of that name.
func child(mapping *yaml.Node, name string) (key, value *yaml.Node) {
	if mapping.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i], mapping.Content[i+1]
		}
	}
	return nil, nil
}

func flows(n *yaml.Node) bool {
	return n.Style&yaml.FlowStyle != 0 && (n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode)
}

// writeOut writes a value in braces out in lines below its name.
func writeOut(lines []string, key, value *yaml.Node) ([]byte, error) {
	value.Style = 0
	var text strings.Builder
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := errors.Join(encoder.Encode(value), encoder.Close()); err != nil {
		return nil, fmt.Errorf("write out %s: %w", key.Value, err)
	}
	endLine, end, ok := closing(lines, value.Line-1, value.Column-1)
	if !ok {
		return nil, fmt.Errorf("%s in line %d has no end", key.Value, key.Line)
	}
	head := strings.TrimRight(string([]rune(lines[value.Line-1])[:value.Column-1]), " ")
	if rest := strings.TrimSpace(lines[endLine][end:]); rest != "" {
		head += " " + rest
	}
	var below []string
	if len(value.Content) > 0 {
		below = indented(strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n"), key.Column+1)
	}
	return wholeLines(slices.Concat(lines[:value.Line-1], []string{head}, below, lines[endLine+1:])), nil
}

// closing finds behind which byte of which line the brace at a character closes.
func closing(lines []string, line, column int) (endLine, end int, ok bool) {
	depth, quote := 0, byte(0)
	at := len(string([]rune(lines[line])[:column]))
	for ; line < len(lines); line, at = line+1, 0 {
		for ; at < len(lines[line]); at++ {
			switch c := lines[line][at]; {
			case quote == '"' && c == '\\':
				at++
			case quote != 0:
				if c == quote {
					quote = 0
				}
			case c == '"' || c == '\'':
				quote = c
			case c == '#' && at > 0 && lines[line][at-1] == ' ':
				at = len(lines[line])
			case c == '[' || c == '{':
				depth++
			case c == ']' || c == '}':
				if depth--; depth == 0 {
					return line, at + 1, true
				}
			}
		}
	}
	return 0, 0, false
}
