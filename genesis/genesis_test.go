package genesis

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/holiman/uint256"

	"cairn/crypto"
)

// testPeerID is a different canonical peer id for each i.
func testPeerID(i byte) string {
	seed := bytes.Repeat([]byte{i}, ed25519.SeedSize)
	return PeerID(ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
}

// testSpec is a network of three validators and two accounts.
func testSpec() *Spec {
	s := &Spec{ChainID: 7, Name: "test", Timestamp: 1_700_000_000_123, Rules: DefaultRules()}
	for i := byte(1); i <= 3; i++ {
		s.Validators = append(s.Validators, Validator{crypto.Address{i}, testPeerID(i), fmt.Sprintf("v%d", i)})
	}
	s.Alloc = []Allocation{{crypto.Address{0x11}, uint256.NewInt(1)}, {crypto.Address{0x22}, uint256.NewInt(2)}}
	return s
}

func TestMarshalRoundTrip(t *testing.T) {
	t.Parallel()
	recipient := crypto.Address{9}
	withRecipient := testSpec()
	withRecipient.Rules.Fees.BaseFeeRecipient = &recipient
	free := testSpec()
	free.Rules.Fees.Free, free.Rules.Fees.InitialBaseFee, free.Rules.Fees.MinBaseFee = true, new(uint256.Int), new(uint256.Int)
	removes := testSpec()
	removes.Rules.RemoveEquivocators = true
	html := testSpec()
	html.Name = `<a & "b">`
	largest := testSpec()
	largest.ChainID = MaxChainID
	largest.Alloc = []Allocation{{crypto.Address{1}, new(uint256.Int).SetAllOne()}}
	for _, want := range []*Spec{testSpec(), withRecipient, free, removes, html, largest, Development()} {
		raw := want.Marshal()
		got, err := Parse(raw)
		if err != nil {
			t.Fatalf("%v in\n%s", err, raw)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("read back as %+v, want %+v", got, want)
		}
		if !bytes.Equal(got.Marshal(), raw) {
			t.Error("the canonical form is not stable")
		}
	}
}

// The order of entries in a file means nothing.
func TestParseSorts(t *testing.T) {
	t.Parallel()
	s := testSpec()
	s.Validators[0], s.Validators[2] = s.Validators[2], s.Validators[0]
	s.Alloc[0], s.Alloc[1] = s.Alloc[1], s.Alloc[0]
	if !bytes.Equal(s.Marshal(), testSpec().Marshal()) {
		t.Error("Marshal keeps the order of memory")
	}
	if s.Validators[0].Address != (crypto.Address{3}) {
		t.Error("Marshal reorders its receiver")
	}
	raw := replace(t, string(testSpec().Marshal()), address(1), address(200))
	raw = replace(t, raw, address(0x11), address(201))
	got, err := Parse([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	if got.Validators[2].Address != (crypto.Address{200}) || got.Alloc[1].Address != (crypto.Address{201}) {
		t.Errorf("not sorted: %v %v", got.Validators, got.Alloc)
	}
}

func address(first byte) string { return crypto.Address{first}.Hex() }

func replace(t *testing.T, text, from, to string) string {
	t.Helper()
	if !strings.Contains(text, from) {
		t.Fatalf("%q is not in %s", from, text)
	}
	return strings.Replace(text, from, to, 1)
}

// Each malformed file is a change of one place of a good one.
func TestParseErrors(t *testing.T) {
	t.Parallel()
	good := string(testSpec().Marshal())
	huge := "1" + strings.Repeat("0", 80)
	for _, c := range []struct {
		name, from, to string
		path           string
		kind           ErrorKind
	}{
		{"unknown field", `"chainId"`, `"extra": 1, "chainId"`, "", ErrUnknownField},
		{"unknown field in rules", `"gasLimit"`, `"gaslimit": 1, "gasLimit"`, "rules", ErrUnknownField},
		{"field in another case", `"chainId"`, `"chainID"`, "", ErrUnknownField},
		{"field twice", `"chainId": 7`, `"chainId": 7, "chainId": 7`, "chainId", ErrDuplicateField},
		{"nested field twice", `"free": false`, `"free": false, "free": true`, "rules.fees.free", ErrDuplicateField},
		{"escaped field twice", `"chainId": 7`, `"chainId": 7, "ch\u0061inId": 8`, "chainId", ErrDuplicateField},
		{"missing field", `"chainId": 7,`, ``, "chainId", ErrMissingField},
		{"missing validator field", `"name": "v2"`, `"name": "v2", "name2": 1`, "validators[1]", ErrUnknownField},
		{"no validators", `"validators": [`, `"validators": [], "v": [`, "", ErrUnknownField},
		{"chain id of zero", `"chainId": 7`, `"chainId": 0`, "chainId", ErrRange},
		{"chain id beyond 2^53-1", `"chainId": 7`, `"chainId": 9007199254740992`, "chainId", ErrRange},
		{"chain id beyond 64 bits", `"chainId": 7`, `"chainId": ` + huge, "chainId", ErrOverflow},
		{"negative chain id", `"chainId": 7`, `"chainId": -7`, "chainId", ErrNegative},
		{"fraction", `"chainId": 7`, `"chainId": 7.0`, "chainId", ErrNotInteger},
		{"exponent", `"chainId": 7`, `"chainId": 7e1`, "chainId", ErrNotInteger},
		{"number as text", `"chainId": 7`, `"chainId": "7"`, "chainId", ErrType},
		{"null", `"chainId": 7`, `"chainId": null`, "chainId", ErrType},
		{"array where an object belongs", `"fees": {`, `"fees": [], "x": {`, "rules.fees", ErrType},
		{"object where an array belongs", `"alloc": [`, `"alloc": {}, "x": [`, "alloc", ErrType},
		{"text where a boolean belongs", `"free": false`, `"free": "false"`, "rules.fees.free", ErrType},
		{"empty name", `"name": "test"`, `"name": ""`, "name", ErrText},
		{"control character in the name", `"name": "test"`, `"name": "te\nst"`, "name", ErrText},
		{"name beyond ASCII", `"name": "test"`, `"name": "tést"`, "name", ErrText},
		{"long name", `"name": "test"`, `"name": "` + strings.Repeat("x", 65) + `"`, "name", ErrText},
		{"timestamp in the far future", `1700000000123`, `253402300800000`, "timestampMillis", ErrRange},
		{"gas limit below a transfer", `"gasLimit": 150000000`, `"gasLimit": 20999`, "rules.gasLimit", ErrRange},
		{"gas limit too high", `"gasLimit": 150000000`, `"gasLimit": 1000000000001`, "rules.gasLimit", ErrRange},
		{"small blocks", `"blockBytes": 2097152`, `"blockBytes": 4095`, "rules.blockBytes", ErrRange},
		{"huge blocks", `"blockBytes": 2097152`, `"blockBytes": 16777217`, "rules.blockBytes", ErrRange},
		{"no transactions", `"blockTransactions": 10000`, `"blockTransactions": 0`, "rules.blockTransactions", ErrRange},
		{"denominator of zero", `"baseFeeChangeDenominator": 8`, `"baseFeeChangeDenominator": 0`, "rules.fees.baseFeeChangeDenominator", ErrRange},
		{"gas target above the limit", `"gasTarget": 150000000`, `"gasTarget": 150000001`, "rules.fees.gasTarget", ErrRange},
		{"fee as a number", `"initialBaseFee": "1000000000"`, `"initialBaseFee": 1000000000`, "rules.fees.initialBaseFee", ErrType},
		{"negative fee", `"initialBaseFee": "1000000000"`, `"initialBaseFee": "-1"`, "rules.fees.initialBaseFee", ErrNegative},
		{"fee in hex", `"initialBaseFee": "1000000000"`, `"initialBaseFee": "0x1"`, "rules.fees.initialBaseFee", ErrNotInteger},
		{"fee with a leading zero", `"initialBaseFee": "1000000000"`, `"initialBaseFee": "01000000000"`, "rules.fees.initialBaseFee", ErrNotInteger},
		{"initial fee below the minimum", `"initialBaseFee": "1000000000"`, `"initialBaseFee": "1"`, "rules.fees.initialBaseFee", ErrRange},
		{"fee above a coin per gas", `"minBaseFee": "1000000000"`, `"minBaseFee": "1000000000000000001"`, "rules.fees.minBaseFee", ErrRange},
		{"fee on a free network", `"free": false`, `"free": true`, "rules.fees.minBaseFee", ErrRange},
		{"text for a boolean rule", `"removeEquivocators": false`, `"removeEquivocators": "false"`, "rules.removeEquivocators", ErrType},
		{"null for a boolean rule", `"removeEquivocators": false`, `"removeEquivocators": null`, "rules.removeEquivocators", ErrType},
		{"a boolean rule twice", `"removeEquivocators": false`, `"removeEquivocators": false, "removeEquivocators": true`, "rules.removeEquivocators", ErrDuplicateField},
		{"wrong fee recipient", `"baseFeeRecipient": null`, `"baseFeeRecipient": "0x1"`, "rules.fees.baseFeeRecipient", ErrAddress},
		{"fee recipient as a number", `"baseFeeRecipient": null`, `"baseFeeRecipient": 1`, "rules.fees.baseFeeRecipient", ErrType},
		{"fee recipient of zero", `"baseFeeRecipient": null`, `"baseFeeRecipient": "` + crypto.Address{}.Hex() + `"`, "rules.fees.baseFeeRecipient", ErrReserved},
		{"interval of zero", `"minBlockIntervalMillis": 20`, `"minBlockIntervalMillis": 0`, "rules.minBlockIntervalMillis", ErrRange},
		{"heartbeat below the interval", `"heartbeatMillis": 60000`, `"heartbeatMillis": 19`, "rules.heartbeatMillis", ErrRange},
		{"heartbeat above a week", `"heartbeatMillis": 60000`, `"heartbeatMillis": 604800001`, "rules.heartbeatMillis", ErrRange},
		{"delta of zero", `"deltaMillis": 400`, `"deltaMillis": 0`, "rules.deltaMillis", ErrRange},
		{"cap below delta", `"deltaMaxMillis": 4000`, `"deltaMaxMillis": 399`, "rules.deltaMaxMillis", ErrRange},
		{"checkpoint interval of zero", `"checkpointInterval": 10000`, `"checkpointInterval": 0`, "rules.checkpointInterval", ErrRange},
		{"validator twice", address(2), address(1), "validators[1].address", ErrDuplicate},
		{"peer id twice", testPeerID(3), testPeerID(1), "validators[2].peerId", ErrDuplicate},
		{"validator name twice", `"v2"`, `"v1"`, "validators[1].name", ErrDuplicate},
		{"validator address of zero", address(1), crypto.Address{}.Hex(), "validators[0].address", ErrReserved},
		{"validator address of wrong hex", address(1), "0xg" + address(1)[3:], "validators[0].address", ErrAddress},
		{"validator address without 0x", address(1), address(1)[2:], "validators[0].address", ErrAddress},
		{"wrong checksum", address(0x22), "0xaAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "alloc[1].address", ErrAddress},
		{"empty peer id", testPeerID(3), "", "validators[2].peerId", ErrPeerID},
		{"peer id with a wrong character", testPeerID(3), "0" + testPeerID(3)[1:], "validators[2].peerId", ErrPeerID},
		{"peer id of a hash", testPeerID(3), "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", "validators[2].peerId", ErrPeerID},
		{"peer id with leading ones", testPeerID(3), "1" + testPeerID(3), "validators[2].peerId", ErrPeerID},
		{"validator name in capitals", `"v2"`, `"V2"`, "validators[1].name", ErrText},
		{"long validator name", `"v2"`, `"` + strings.Repeat("v", 33) + `"`, "validators[1].name", ErrText},
		{"account twice", address(0x22), address(0x11), "alloc[1].address", ErrDuplicate},
		{"balance for the registry", address(0x22), RegistryAddress.Hex(), "alloc[1].address", ErrReserved},
		{"balance of zero", `"balance": "2"`, `"balance": "0"`, "alloc[1].balance", ErrRange},
		{"negative balance", `"balance": "2"`, `"balance": "-2"`, "alloc[1].balance", ErrNegative},
		{"balance with a fraction", `"balance": "2"`, `"balance": "2.5"`, "alloc[1].balance", ErrNotInteger},
		{"balance beyond 256 bits", `"balance": "2"`, `"balance": "` + huge + `"`, "alloc[1].balance", ErrOverflow},
		{"sum of balances beyond 256 bits", `"balance": "2"`, `"balance": "` + new(uint256.Int).SetAllOne().Dec() + `"`, "alloc[1].balance", ErrOverflow},
		{"comma too many", `"chainId": 7,`, `"chainId": 7,,`, "", ErrSyntax},
		{"comment", `"chainId": 7,`, `"chainId": 7, // seven`, "", ErrSyntax},
		{"byte order mark", "{\n  \"chainId\"", "\ufeff{\n  \"chainId\"", "", ErrSyntax},
		{"single quotes", `"test"`, `'test'`, "name", ErrSyntax},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse([]byte(replace(t, good, c.from, c.to)))
			checkFieldError(t, err, c.path, c.kind)
		})
	}
}

func checkFieldError(t *testing.T, err error, path string, kind ErrorKind) {
	t.Helper()
	at, ok := errors.AsType[*FieldError](err)
	if !ok || at.Path != path || !errors.Is(err, kind) {
		t.Fatalf("%v; want %q at %q", err, kind, path)
	}
	if path != "" && !strings.HasPrefix(err.Error(), path+": ") {
		t.Errorf("the text does not begin with the path: %v", err)
	}
}

func TestParseWholeFileErrors(t *testing.T) {
	t.Parallel()
	good := testSpec().Marshal()
	none := testSpec()
	none.Validators = nil
	many := testSpec()
	for i := range MaxValidators {
		many.Validators = append(many.Validators, Validator{crypto.Address{1: byte(i), 2: 1}, testPeerID(byte(i)), fmt.Sprintf("x%d", i)})
	}
	for _, c := range []struct {
		name string
		raw  []byte
		path string
		kind ErrorKind
	}{
		{"empty", nil, "", ErrSyntax},
		{"white space", []byte(" \n"), "", ErrSyntax},
		{"array", []byte("[]"), "", ErrType},
		{"text", []byte(`"genesis"`), "", ErrType},
		{"null", []byte("null"), "", ErrType},
		{"cut", good[:bytes.Index(good, []byte(`"peerId"`))+4], "validators[0]", ErrSyntax},
		{"without its last brace", bytes.TrimSuffix(good, []byte("}\n")), "", ErrSyntax},
		{"a second value", append(bytes.Clone(good), good...), "", ErrTrailingData},
		{"a letter after the end", append(bytes.Clone(good), 'x'), "", ErrTrailingData},
		{"above 16 MiB", bytes.Repeat([]byte(" "), MaxFileBytes+1), "", ErrTooLarge},
		{"deep nesting", []byte(strings.Repeat("[", 1_000_000)), "", ErrType},
		{"deep nesting in a field", []byte(`{"chainId": ` + strings.Repeat(`{"a":`, 1_000_000)), "chainId", ErrType},
		{"no validators", none.Marshal(), "validators", ErrNoValidators},
		{"too many validators", many.Marshal(), "validators", ErrTooMany},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse(c.raw)
			checkFieldError(t, err, c.path, c.kind)
		})
	}
	if _, err := Parse(append(bytes.Clone(good), " \n\t"...)); err != nil {
		t.Errorf("white space after the end: %v", err)
	}
}

func TestSyntaxErrorTellsThePosition(t *testing.T) {
	t.Parallel()
	_, err := Parse([]byte("{\n  \"chainId\": 7,\n  \"name\": x\n}"))
	if err == nil || !strings.Contains(err.Error(), "line 3, column 11") {
		t.Errorf("%v", err)
	}
}

// Each missing field is named.
func TestParseMissingFields(t *testing.T) {
	t.Parallel()
	var remove func(path string, value any, whole func() any)
	remove = func(path string, value any, whole func() any) {
		if list, ok := value.([]any); ok && len(list) > 0 {
			remove(path+"[0]", list[0], whole)
			return
		}
		object, ok := value.(map[string]any)
		if !ok {
			return
		}
		for name, member := range object {
			remove(join(path, name), member, whole)
			if name == "baseFeeRecipient" || name == "removeEquivocators" {
				continue
			}
			delete(object, name)
			raw, err := json.Marshal(whole())
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(raw)
			checkFieldError(t, err, join(path, name), ErrMissingField)
			object[name] = member
		}
	}
	var root any
	d := json.NewDecoder(bytes.NewReader(testSpec().Marshal()))
	d.UseNumber()
	if err := d.Decode(&root); err != nil {
		t.Fatal(err)
	}
	remove("", root, func() any { return root })
	rules := root.(map[string]any)["rules"].(map[string]any)
	delete(rules, "removeEquivocators")
	delete(rules["fees"].(map[string]any), "baseFeeRecipient")
	raw, _ := json.Marshal(root)
	if s, err := Parse(raw); err != nil || !reflect.DeepEqual(s, testSpec()) {
		t.Errorf("without the optional fields: %v", err)
	}
}

func TestValidateSpecInMemory(t *testing.T) {
	t.Parallel()
	s := testSpec()
	s.Rules.Fees.MinBaseFee = nil
	checkFieldError(t, s.Validate(), "rules.fees.minBaseFee", ErrMissingField)
	s = testSpec()
	s.Alloc[0].Balance = nil
	checkFieldError(t, s.Validate(), "alloc[0].balance", ErrRange)
	s = testSpec()
	s.Alloc = make([]Allocation, MaxAllocations+1)
	checkFieldError(t, s.Validate(), "alloc", ErrTooMany)
	rules := DefaultRules()
	if err := rules.Validate(); err != nil {
		t.Errorf("the default rules: %v", err)
	}
}

func TestValidatorSet(t *testing.T) {
	t.Parallel()
	s := testSpec()
	set := s.ValidatorSet()
	s.Validators[0], s.Validators[2] = s.Validators[2], s.Validators[0]
	other := s.ValidatorSet()
	if set.Hash() != other.Hash() || set.Len() != 3 || other.At(0).Name != "v1" {
		t.Error("the set depends on the order of its members")
	}
	for i, a := range set.Addresses() {
		if j, ok := set.Index(a); !ok || j != i || set.At(i).Address != a {
			t.Errorf("member %d is found at %d", i, j)
		}
	}
	if _, ok := set.Index(crypto.Address{99}); ok {
		t.Error("a stranger is in the set")
	}
	s.Validators[1].Name = "renamed"
	if s.ValidatorSet().Hash() == set.Hash() {
		t.Error("the hash leaves the name out")
	}
	_, err := NewValidatorSet(nil)
	checkFieldError(t, err, "validators", ErrNoValidators)
	_, err = NewValidatorSet([]Validator{set.At(0), set.At(0)})
	checkFieldError(t, err, "validators[1].address", ErrDuplicate)
	_, err = NewValidatorSet([]Validator{{crypto.Address{1}, "x", "a"}, {crypto.Address{2}, "x", "b"}})
	checkFieldError(t, err, "validators[1].peerId", ErrDuplicate)
}

func FuzzParse(f *testing.F) {
	f.Add(Development().Marshal())
	f.Add(testSpec().Marshal())
	f.Add([]byte(`{"chainId":1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := Parse(raw)
		if err != nil {
			if _, ok := errors.AsType[*FieldError](err); !ok {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		again, err := Parse(s.Marshal())
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%s is written as %s: %v", raw, s.Marshal(), err)
		}
	})
}

func FuzzParseAlloc(f *testing.F) {
	f.Add(MarshalAlloc(testSpec().Alloc))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		alloc, err := ParseAlloc(raw)
		if err != nil {
			return
		}
		again, err := ParseAlloc(MarshalAlloc(alloc))
		if err != nil || len(again) != len(alloc) {
			t.Fatalf("%s is written as %s: %v", raw, MarshalAlloc(alloc), err)
		}
	})
}
