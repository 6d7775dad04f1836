package config

import _ "embed"

//go:embed template.yaml
var template string

// Template is a commented configuration to start from. It names every field;
// optional ones that have no default stand in comments.
func Template() []byte { return []byte(template) }
