package console

import "testing"

func init() { preflightCases = append(preflightCases, outsideCases) }

var outsideCases = map[string]preflightCase{
	"a second API server": {func(f *PreflightFacts) {
		f.Prefixes = []string{"/registry/"}
		f.Primary.Outside = found([]OutsideFacts{{"/app/", 3, false, "/app/a"}, {"/registry-gardener/", 1200, true, "/registry-gardener/core.gardener.cloud/shoots/a/b"}})
	}, "outside-prefix", CheckWarn, "1,200 keys below /registry-gardener/, such as /registry-gardener/core.gardener.cloud/shoots/a/b"},
	"keys of somebody else": {func(f *PreflightFacts) { f.Primary.Outside = found([]OutsideFacts{{"/app/", 3, false, "/app/a"}}) },
		"outside-prefix", CheckOK, "keeps no objects: 3 keys below /app/"},
	"not allowed to look": {func(f *PreflightFacts) { f.Primary.Outside = NotFound[[]OutsideFacts]("permission denied") }, "outside-prefix", Unchecked, "permission denied"},
	"every key, and objects among them": {func(f *PreflightFacts) {
		f.Prefix, f.Primary.Outside = "/", found([]OutsideFacts{{"/registry/", 9, true, "/registry/pods/a/b"}})
	}, "outside-prefix", CheckFail, "sync.prefix is \"/\", and moscow has objects of API servers"},
	"every key of something else": {func(f *PreflightFacts) {
		f.Prefix, f.Primary.Outside = "/", found([]OutsideFacts{{"/app/", 9, false, "/app/a"}})
	},
		"outside-prefix", CheckOK, "no key of moscow looks like an object"},
	"custom resources left out": {func(f *PreflightFacts) {
		f.LeftOut.Value.Alone = LeftOut{CustomResources: 12, Secrets: 4, Namespaces: 3}
	},
		"left-out", CheckWarn, "12 custom resources and 4 Secrets in 3 namespaces of moscow take no part"},
	"left out, and there": {func(f *PreflightFacts) { f.LeftOut.Value.There = 7 }, "left-out", CheckOK, "7 objects of value on moscow have a counterpart on spb"},
	"left out, unread":    {func(f *PreflightFacts) { f.LeftOut = NotFound[LeftOutFacts]("no answer in time") }, "left-out", Unchecked, "no answer in time"},
}

func TestLeftOutText(t *testing.T) {
	for want, l := range map[string]*LeftOut{
		"":                        {},
		"1 Secret in 1 namespace": {Secrets: 1, Namespaces: 1},
		"2 bootstrap roles or bindings that somebody has changed":                                                {Roles: 2},
		"1 bootstrap role or binding that somebody has changed and 1 Pod that no controller made in 1 namespace": {Roles: 1, Pods: 1, Namespaces: 1},
		"2,000 custom resources, 1 Secret and 3 Pods that no controller made in 12 namespaces":                   {CustomResources: 2000, Secrets: 1, Pods: 3, Namespaces: 12},
	} {
		if got := l.Text(); got != want {
			t.Errorf("%+v: %q, want %q", *l, got, want)
		}
	}
	if text := (*LeftOut)(nil).Text(); text != "" {
		t.Errorf("unknown: %q", text)
	}
}
