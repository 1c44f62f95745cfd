package wallet

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"cairn/crypto"
)

// reported is evidence as a node answered it: the development network's
// validator finalized two blocks in view 9.
const reported = "testdata/evidence.json"

func readReported(t testing.TB) []byte {
	t.Helper()
	raw, err := os.ReadFile(reported)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestParseEvidence(t *testing.T) {
	t.Parallel()
	raw := readReported(t)
	all, err := ParseEvidence(raw)
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	e := all[0]
	block0 := hashOf(t, "0x936c300ec782d0f437cc2bcd49ac9421ca5b8fe72f04517aff60ac5b48ac4b21")
	if err := e.Check(22476, block0); err != nil {
		t.Error(err)
	}
	if err := e.Check(22477, block0); !errors.Is(err, ErrEvidence) {
		t.Errorf("on another chain: %v", err)
	}
	if len(e.ReportCall()) < 4 || Latest(all, e.Validator) != e || Latest(all, crypto.Address{1}) != nil {
		t.Error("not found by its validator")
	}
	one := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(string(raw)), "["), "]")
	if again, err := ParseEvidence([]byte(one)); err != nil || len(again) != 1 || string(again[0].ReportCall()) != string(e.ReportCall()) {
		t.Errorf("one entry alone: %v, %v", again, err)
	}
	for name, text := range map[string]string{
		"empty": "", "no JSON": "correct horse", "another kind": strings.Replace(string(raw), "finalize", "notarise", 1),
		"two views": strings.Replace(string(raw), `"view": 9`, `"view": 8`, 1), "one vote": `[{"epoch":0,"votes":[{"kind":"nullify","view":1}]}]`,
		"a second value": string(raw) + "[]", "too long": "[" + strings.Repeat(" ", MaxEvidenceBytes) + "]",
		"epoch too large": strings.Replace(string(raw), `"epoch": 0`, `"epoch": 4294967296`, 1),
	} {
		if _, err := ParseEvidence([]byte(text)); !errors.Is(err, ErrEvidence) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func hashOf(t testing.TB, text string) (h crypto.Hash) {
	t.Helper()
	h, err := crypto.ParseHash(text)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func FuzzParseEvidence(f *testing.F) {
	f.Add(readReported(f))
	f.Add([]byte(`{"epoch":1,"validator":"0x0000000000000000000000000000000000000001","votes":[]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		all, err := ParseEvidence(raw)
		if err != nil {
			if !errors.Is(err, ErrEvidence) {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		for _, e := range all {
			_ = e.Check(1, crypto.Hash{}) // whatever it says, it does not panic
			e.ReportCall()
		}
		if _, err := json.Marshal(all); err != nil {
			t.Fatal(err)
		}
	})
}
