package vigil

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// However much is lost, the record fits into one request to etcd, and counts the rest.
func TestRecordStaysSmall(t *testing.T) {
	var r Record
	for i := range 20_000 {
		touched := Touched{Key: fmt.Sprintf("/registry/example.com/widgets/%s/w-%05d", strings.Repeat("n", 60), i), Revision: 1 << 40, UID: "00000000-0000-4000-8000-000000000000"}
		r.Lost, r.Changed = append(r.Lost, touched), append(r.Changed, touched)
	}
	r.bound()
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 512<<10 || len(r.Lost) == 0 || len(r.Lost)+len(r.Changed)+r.More != 40_000 {
		t.Errorf("%d bytes, %d lost and %d changed are named, %d more", len(raw), len(r.Lost), len(r.Changed), r.More)
	}
}
