package lighttest

import (
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"

	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
)

// Covered fails a test of lies for each field of a message about which no lie is
// told, so that a new field cannot come without one. A lie is named by the path of
// the field, as in "Blocks.Body.Number: one more". inside says which message a
// field holds that is bytes to the one it stands in, by path.
func Covered[Lie any](t *testing.T, message any, inside map[string]any, lies map[string]Lie) {
	t.Helper()
	told := make(map[string]bool)
	for name := range lies {
		path, _, _ := strings.Cut(name, ":")
		told[path] = true
	}
	known := make(map[string]bool) // and whether a lie is due
	fields("", reflect.TypeOf(message), func(path string, due bool) {
		known[path] = due
		if of, ok := inside[path]; ok {
			fields(path+".", reflect.TypeOf(of), func(path string, due bool) { known[path] = due })
		}
	})
	for path, due := range known {
		if due && !told[path] {
			t.Errorf("%T: no lie is told about %s", message, path)
		}
	}
	for path := range told {
		if _, ok := known[path]; !ok {
			t.Errorf("%T has no %s about which a lie is told", message, path)
		}
	}
}

// fields hears of the paths of the fields of a struct that are encoded, also of
// structs in them and in lists. due is false for those that may be left out.
func fields(path string, of reflect.Type, hear func(path string, due bool)) {
	for of.Kind() == reflect.Slice || of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || of == reflect.TypeFor[big.Int]() {
		return
	}
	for f := range slices.Values(reflect.VisibleFields(of)) {
		if len(f.Index) > 1 {
			continue // heard of with the struct that it is promoted from
		}
		if f.Anonymous {
			fields(path, f.Type, hear)
			continue
		}
		hear(path+f.Name, !strings.Contains(f.Tag.Get("rlp"), "optional"))
		fields(path+f.Name+".", f.Type, hear)
	}
}

// HeaderLies change each field of an encoded header.
func HeaderLies() map[string]func(raw []byte) []byte {
	out := make(map[string]func([]byte) []byte)
	for name, change := range HeaderChanges() {
		out[name] = func(raw []byte) []byte {
			h, err := chain.DecodeHeader(raw)
			if err != nil {
				panic(err) // lies begin with what is true
			}
			change(h)
			return chain.EncodeHeader(h)
		}
	}
	out[": cut"] = func(raw []byte) []byte { return raw[:len(raw)-9] }
	out[": none"] = func([]byte) []byte { return nil }
	return out
}

// HeaderChanges are one for each field of a header, and two for its view and epoch.
func HeaderChanges() map[string]func(*types.Header) {
	more := func(n *big.Int) *big.Int { return new(big.Int).Add(n, big.NewInt(1)) }
	extra := func(at int) func(*types.Header) {
		return func(h *types.Header) { h.Extra = slices.Clone(h.Extra); h.Extra[at] ^= 1 }
	}
	return map[string]func(*types.Header){
		".ParentHash":     func(h *types.Header) { h.ParentHash[0] ^= 1 },
		".UncleHash":      func(h *types.Header) { h.UncleHash[0] ^= 1 },
		".Coinbase":       func(h *types.Header) { h.Coinbase[0] ^= 1 },
		".Root":           func(h *types.Header) { h.Root[0] ^= 1 },
		".TxHash":         func(h *types.Header) { h.TxHash[0] ^= 1 },
		".ReceiptHash":    func(h *types.Header) { h.ReceiptHash[0] ^= 1 },
		".Bloom":          func(h *types.Header) { h.Bloom[0] ^= 1 },
		".Difficulty":     func(h *types.Header) { h.Difficulty = more(h.Difficulty) },
		".Number":         func(h *types.Header) { h.Number = more(h.Number) },
		".GasLimit":       func(h *types.Header) { h.GasLimit++ },
		".GasUsed":        func(h *types.Header) { h.GasUsed++ },
		".Time":           func(h *types.Header) { h.Time++ },
		".Extra: epoch":   extra(4),
		".Extra: view":    extra(12),
		".Extra: version": extra(0),
		".MixDigest":      func(h *types.Header) { h.MixDigest[0] ^= 1 },
		".Nonce":          func(h *types.Header) { h.Nonce[0] ^= 1 },
		".BaseFee":        func(h *types.Header) { h.BaseFee = more(h.BaseFee) },
	}
}

// FinalizationLies change each field of an encoded finalization of the chain.
func (c *Chain) FinalizationLies() map[string]func(raw []byte) []byte {
	change := func(change func(*consensus.Certificate)) func([]byte) []byte {
		return func(raw []byte) []byte {
			cert, err := consensus.DecodeCertificate(raw)
			if err != nil {
				panic(err) // lies begin with what is true
			}
			change(cert)
			return consensus.EncodeCertificate(cert)
		}
	}
	signed := func(by func(i int) *crypto.PrivateKey) func([]byte) []byte {
		return change(func(cert *consensus.Certificate) {
			for i := range cert.Signatures {
				cert.Signatures[i] = by(i).Sign(cert.Digest(c.Network()))
			}
		})
	}
	return map[string]func([]byte) []byte{
		".Kind":       change(func(c *consensus.Certificate) { c.Kind = consensus.Notarize }),
		".Epoch":      change(func(c *consensus.Certificate) { c.Epoch++ }),
		".View":       change(func(c *consensus.Certificate) { c.View++ }),
		".ParentView": change(func(c *consensus.Certificate) { c.ParentView++ }),
		".Block":      change(func(c *consensus.Certificate) { c.Block[0] ^= 1 }),
		".Signers: others": change(func(c *consensus.Certificate) {
			c.Signers = slices.Clone(c.Signers)
			c.Signers[0] = c.Signers[0]<<1 | c.Signers[0]>>7
		}),
		".Signers: too few": change(func(c *consensus.Certificate) {
			c.Signers = consensus.NewBitmap(4)
			c.Signers.Set(0)
			c.Signatures = c.Signatures[:1]
		}),
		".Signatures: a bit":  change(func(c *consensus.Certificate) { c.Signatures[0][5] ^= 1 }),
		".Signatures: forged": signed(Account),
		": cut":               func(raw []byte) []byte { return raw[:30] },
		": too long":          func([]byte) []byte { return make([]byte, consensus.MaxCertificateBytes+1) },
	}
}

// ValidatorLies change a set of validators and each field of one.
func ValidatorLies() map[string]func([]genesis.Validator) []genesis.Validator {
	first := func(change func(*genesis.Validator)) func([]genesis.Validator) []genesis.Validator {
		return func(v []genesis.Validator) []genesis.Validator {
			v = slices.Clone(v)
			change(&v[0])
			return v
		}
	}
	return map[string]func([]genesis.Validator) []genesis.Validator{
		": one missing": func(v []genesis.Validator) []genesis.Validator { return v[1:] },
		": one more":    func(v []genesis.Validator) []genesis.Validator { return append(slices.Clone(v), Validator(9)) },
		": one twice":   func(v []genesis.Validator) []genesis.Validator { return append(slices.Clone(v), v[0]) },
		": none":        func([]genesis.Validator) []genesis.Validator { return nil },
		": too many": func([]genesis.Validator) []genesis.Validator {
			return make([]genesis.Validator, genesis.MaxValidators+1)
		},
		".Address":        first(func(v *genesis.Validator) { v.Address[0] ^= 1 }),
		".PeerID":         first(func(v *genesis.Validator) { v.PeerID = Validator(9).PeerID }),
		".Name":           first(func(v *genesis.Validator) { v.Name += "x" }),
		".Name: too long": first(func(v *genesis.Validator) { v.Name = string(make([]byte, 257)) }),
	}
}
