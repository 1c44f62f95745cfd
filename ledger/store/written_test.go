package store

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestWritten: each write of records is counted in its own batch, over restarts
// and power losses, and the number never goes back.
func TestWritten(t *testing.T) {
	t.Parallel()
	mem := vfs.NewCrashableMem()
	st := open(t, small(mem))
	want := uint64(0)
	held := func(what string) {
		t.Helper()
		if got := st.Written(); got != want {
			t.Fatalf("%s: %d writes, want %d", what, got, want)
		}
	}
	held("a new database")
	for range 3 {
		if err := st.PutRecords([]Record{{[]byte("x"), nil}, {[]byte("y"), nil}}); err != nil {
			t.Fatal(err)
		}
		want++
		held("records")
	}
	if err := errors.Join(st.PutRecords(nil), st.PutMeta("m", nil), st.DeleteRecords([][]byte{[]byte("x")})); err != nil {
		t.Fatal(err)
	}
	held("other writes")
	lost := mem.CrashClone(vfs.CrashCloneCfg{})
	if err := errors.Join(st.CarryWritten(2), st.CarryWritten(9), st.CarryWritten(8)); err != nil {
		t.Fatal(err)
	}
	want = 9
	held("carried")
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = open(t, small(mem))
	held("opened again")
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = open(t, small(lost))
	want = 3
	held("after a power loss")
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}
