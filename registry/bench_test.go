package registry_test

import (
	"slices"
	"testing"

	"github.com/understudy-dr/understudy/internal/fixture"
	"github.com/understudy-dr/understudy/kv"
	"github.com/understudy-dr/understudy/registry"
)

// objects are 2 KiB each, as in the benchmark of the first copy.
func objects(tb testing.TB, keep registry.Encoding) (chosen []kv.Pair) {
	tb.Helper()
	for p := range fixture.Generate(fixture.Options{Objects: 2000, ValueBytes: 2048}) {
		m, err := registry.ReadMeta(p.Value)
		if err != nil {
			tb.Fatal(err)
		}
		if keep == 0 || m.Encoding == keep {
			chosen = append(chosen, p)
		}
	}
	return chosen
}

func BenchmarkReadMeta(b *testing.B) {
	for name, encoding := range map[string]registry.Encoding{"protobuf": registry.Protobuf, "JSON": registry.JSON, "mixed": 0} {
		b.Run(name, func(b *testing.B) {
			pairs := objects(b, encoding)
			b.ReportAllocs()
			b.SetBytes(2048)
			for i := 0; b.Loop(); i++ {
				if _, err := registry.ReadMeta(pairs[i%len(pairs)].Value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseKey(b *testing.B) {
	var keys []string
	for p := range fixture.Generate(fixture.Options{Objects: 1000}) {
		keys = append(keys, p.Key)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, ok := registry.ParseKey(registry.DefaultPrefix, keys[i%len(keys)]); !ok {
			b.Fatal(keys[i%len(keys)])
		}
	}
}

func BenchmarkRecode(b *testing.B) {
	for _, provider := range []string{"aescbc", "aesgcm", "secretbox"} {
		b.Run(provider, func(b *testing.B) {
			primary, standby := config(b, secretsWith(provider, "key1", 1)), config(b, secretsWith(provider, "key1", 2))
			secrets := slices.DeleteFunc(slices.Collect(fixture.Generate(fixture.Options{Objects: 2000, ValueBytes: 2048, Encryption: primary})), func(p kv.Pair) bool {
				k, _ := registry.ParseKey(registry.DefaultPrefix, p.Key)
				return k.GroupResource() != "secrets"
			})
			recoder := registry.NewRecoder(primary, standby)
			b.SetBytes(2048)
			for i := 0; b.Loop(); i++ {
				p := secrets[i%len(secrets)]
				if _, _, err := recoder.Recode("secrets", p.Key, p.Value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// secretsWith is a configuration that encrypts Secrets with one key.
func secretsWith(provider, keyName string, secret byte) string {
	return configuration(entry("secrets", key(provider, keyName, secret)))
}
