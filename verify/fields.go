package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
	"github.com/understudy-dr/understudy/scope"
)

// fieldsShown is how many fields of one object are named.
const fieldsShown = 8

// Explain fills in the Fields of a report: for each differing key that it lists,
// what the primary wants and what stands on the standby. It reads both sides at
// the report's revisions.
func Explain(ctx context.Context, sides Sides, view *scope.View, report *Report) error {
	for chunk := range slices.Chunk(report.Differing.Keys, keysAtOnce) {
		primary, err := read(ctx, sides.Primary, chunk, report.SourceRevision)
		if err != nil {
			return fmt.Errorf("read the primary: %w", err)
		}
		standby, err := read(ctx, sides.Standby, chunk, report.StandbyRevision)
		if err != nil {
			return fmt.Errorf("read the standby: %w", err)
		}
		for _, key := range chunk {
			if fields := differingFields(view, key, primary[key], standby[key]); len(fields) > 0 {
				if report.Fields == nil {
					report.Fields = map[string][]string{}
				}
				report.Fields[key] = fields
			}
		}
	}
	return nil
}

// differingFields says "spec.replicas: 3 → 1" for each field in which the standby's
// object is not what the primary wants there. Local fields are none of them.
func differingFields(view *scope.View, key string, primary, standby *kv.Pair) []string {
	parsed, ok := view.Scope.Parse(key)
	if !ok || primary == nil || standby == nil {
		return nil
	}
	gr := parsed.GroupResource()
	want, err := view.Want(key, primary.Value)
	if err != nil || !want.In || want.Opaque {
		return nil
	}
	value, _, err := view.Keep(key, want.Value, view.Own(key, standby.Value))
	if err != nil {
		return nil
	}
	a, err := view.InStandby(key, value)
	if err != nil {
		return nil
	}
	b, err := view.InStandby(key, standby.Value)
	if err != nil || b.Plain == nil {
		return nil
	}
	fields := registry.Differences(gr, a.Plain, b.Plain)
	if len(fields) == 0 && want.Kept != nil {
		return []string{"it stands as it should, but what a release would put back is another object than the primary's"}
	}
	return mostTelling(fields)
}

// mostTelling leaves out who wrote a field, where a field was written.
func mostTelling(fields []string) []string {
	managed := func(f string) bool { return strings.HasPrefix(f, "metadata.managedFields") }
	if slices.ContainsFunc(fields, func(f string) bool { return !managed(f) }) {
		fields = slices.DeleteFunc(fields, managed)
	}
	if more := len(fields) - fieldsShown; more > 1 {
		fields = append(fields[:fieldsShown:fieldsShown], fmt.Sprintf("and %d more fields", more))
	}
	return fields
}
