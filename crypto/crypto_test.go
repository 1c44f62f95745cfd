package crypto

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

func mustHex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustKey(t testing.TB, text string) *PrivateKey {
	t.Helper()
	k, err := ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Source: the Keccak team's vectors for the padding of SHA-3's submission.
func TestKeccak256Vectors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":    "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
		"abc": "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45",
	} {
		if got := hex.EncodeToString(Keccak256([]byte(text)).Bytes()); got != want {
			t.Errorf("keccak256(%q) = %s, want %s", text, got, want)
		}
	}
	if Keccak256([]byte("a"), []byte("bc")) != Keccak256([]byte("abc")) {
		t.Error("parts are not hashed as their concatenation")
	}
}

// Source: EIP-55's own test cases.
func TestParseAddressEIP55Vectors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"0x52908400098527886E0F7030069857D2E4169EE7",
		"0x8617E340B3D01FA5F11F306F4090FD50E238070D",
		"0xde709f2102306220921060314715629080e2fb77",
		"0x27b1fdb04752bbc536007a920d24acb045561c26",
		"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
		"0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
		"0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
		"0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
	} {
		a, err := ParseAddress(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if a.Hex() != text {
			t.Errorf("%s is written as %s", text, a.Hex())
		}
		for _, other := range []string{"0x" + strings.ToUpper(text[2:]), strings.ToLower(text)} {
			if b, err := ParseAddress(other); err != nil || b != a {
				t.Errorf("%s: %s, %v", other, b, err)
			}
		}
	}
}

func TestParseTextErrors(t *testing.T) {
	t.Parallel()
	address := func(text string) error { _, err := ParseAddress(text); return err }
	hash := func(text string) error { _, err := ParseHash(text); return err }
	key := func(text string) error { _, err := ParsePrivateKey(text); return err }
	a40, a64 := strings.Repeat("a", 40), strings.Repeat("a", 64)
	for _, c := range []struct {
		name  string
		parse func(string) error
		text  string
		want  error
	}{
		{"address without 0x", address, a40, ErrHex},
		{"address with 0X", address, "0X" + a40, ErrHex},
		{"empty address", address, "", ErrHex},
		{"short address", address, "0x" + a40[1:], ErrAddressLength},
		{"long address", address, "0x" + a40 + "a", ErrAddressLength},
		{"address with a letter beyond f", address, "0x" + a40[1:] + "g", ErrHex},
		{"address with a space", address, "0x" + a40[1:] + " ", ErrHex},
		{"address in two-byte characters", address, "0x" + strings.Repeat("é", 20), ErrHex},
		{"checksum with one letter's case changed", address, "0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed", ErrAddressChecksum},
		{"checksum with one digit changed", address, "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAec", ErrAddressChecksum},
		{"hash without 0x", hash, a64, ErrHex},
		{"short hash", hash, "0x" + a64[1:], ErrHashLength},
		{"long hash", hash, "0x" + a64 + "00", ErrHashLength},
		{"hash that is not hex", hash, "0x" + a64[1:] + "x", ErrHex},
		{"empty key", key, "", ErrKeyLength},
		{"short key", key, a64[1:], ErrKeyLength},
		{"long key", key, "0x" + a64 + "a", ErrKeyLength},
		{"key that is not hex", key, a64[1:] + "x", ErrHex},
		{"key of zero", key, strings.Repeat("0", 64), ErrKeyRange},
		{"key of the curve order", key, "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", ErrKeyRange},
		{"key above the curve order", key, strings.Repeat("f", 64), ErrKeyRange},
	} {
		err := c.parse(c.text)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if err != nil && strings.Contains(c.name, "key") && len(c.text) > 60 && strings.Contains(err.Error(), c.text[5:20]) {
			t.Errorf("%s: the error repeats the key: %v", c.name, err)
		}
	}
	if _, err := PrivateKeyFromBytes(make([]byte, 31)); !errors.Is(err, ErrKeyLength) {
		t.Errorf("31 bytes as a key: %v", err)
	}
}

func TestParseHashRoundTrip(t *testing.T) {
	t.Parallel()
	want := Keccak256([]byte("x"))
	for _, text := range []string{want.Hex(), "0x" + strings.ToUpper(want.Hex()[2:])} {
		if got, err := ParseHash(text); err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
}

// Known keys: 1 and 2, the EIP-155 example, and the first account of the
// mnemonic that development tools share.
func TestAddressOfKnownKeys(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		strings.Repeat("0", 63) + "1":                                        "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf",
		strings.Repeat("0", 63) + "2":                                        "0x2B5AD5c4795c026514f8317c7a215E218DcCD6cF",
		strings.Repeat("46", 32):                                             "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F",
		"0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80": "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
	} {
		if got := mustKey(t, key).Address().Hex(); got != want {
			t.Errorf("address of %s… is %s, want %s", key[:6], got, want)
		}
	}
}

// Source: the RFC 6979 vectors for secp256k1 with SHA-256 that Bitcoin and
// Ethereum libraries share, and the example of EIP-155.
func TestSignVectors(t *testing.T) {
	t.Parallel()
	sha := func(text string) Hash { return sha256.Sum256([]byte(text)) }
	order := "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140"
	for _, c := range []struct {
		key    string
		digest Hash
		rs     string
	}{
		{strings.Repeat("0", 63) + "1", sha("Satoshi Nakamoto"), "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d82442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5"},
		{strings.Repeat("0", 63) + "1", sha("All those moments will be lost in time, like tears in rain. Time to die..."), "8600dbd41e348fe5c9465ab92d23e3db8b98b873beecd930736488696438cb6b547fe64427496db33bf66019dacbf0039c04199abb0122918601db38a72cfc21"},
		{order, sha("Satoshi Nakamoto"), "fd567d121db66e382991534ada77a6bd3106f0a1098c231e47993447cd6af2d06b39cd0eb1bc8603e159ef5c20a5c8ad685a45b06ce9bebed3f153d10d93bed5"},
		{
			strings.Repeat("46", 32), Hash(mustHex(t, "daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53")),
			"28ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa63627667cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83",
		},
	} {
		key := mustKey(t, c.key)
		sig := key.Sign(c.digest)
		if got := hex.EncodeToString(sig[:64]); got != c.rs {
			t.Errorf("key %s…: signature %s, want %s", c.key[:4], got, c.rs)
		}
		if err := sig.Verify(c.digest, key.Address()); err != nil {
			t.Errorf("key %s…: %v", c.key[:4], err)
		}
	}
}

func TestGenerateKey(t *testing.T) {
	t.Parallel()
	a, err := GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := PrivateKeyFromBytes(a.Bytes())
	if err != nil || b.Address() != a.Address() {
		t.Fatalf("a key's bytes read back as %v, %v", b, err)
	}
	if _, err := GenerateKey(bytes.NewReader(nil)); err == nil {
		t.Error("a key was drawn from an empty source")
	}
}

// order is the curve's.
var order = func() *big.Int { return new(big.Int).Set(secp256k1.Params().N) }()

func withScalar(sig Signature, at int, n *big.Int) Signature {
	n.FillBytes(sig[at : at+32])
	return sig
}

// highS is the other signature of the same digest by the same key.
func highS(sig Signature) Signature {
	s := new(big.Int).SetBytes(sig[32:64])
	out := withScalar(sig, 32, s.Sub(order, s))
	out[64] ^= 1
	return out
}

func TestSignatureErrors(t *testing.T) {
	t.Parallel()
	key, digest := mustKey(t, strings.Repeat("46", 32)), Keccak256([]byte("message"))
	good := key.Sign(digest)
	half := new(big.Int).Rsh(order, 1)
	with := func(change func(*Signature)) []byte { s := good; change(&s); return s[:] }
	scalar := func(at int, n *big.Int) []byte { s := withScalar(good, at, n); return s[:] }
	high := highS(good)
	for _, c := range []struct {
		name string
		raw  []byte
		want error
	}{
		{"64 bytes", good[:64], ErrSignatureLength},
		{"66 bytes", append(bytes.Clone(good[:]), 0), ErrSignatureLength},
		{"none", nil, ErrSignatureLength},
		{"recovery id 2", with(func(s *Signature) { s[64] = 2 }), ErrRecoveryID},
		{"recovery id 27", with(func(s *Signature) { s[64] = 27 }), ErrRecoveryID},
		{"r of zero", scalar(0, new(big.Int)), ErrSignatureZero},
		{"s of zero", scalar(32, new(big.Int)), ErrSignatureZero},
		{"r of the order", scalar(0, order), ErrSignatureRange},
		{"s of the order", scalar(32, order), ErrSignatureRange},
		{"high s", high[:], ErrSignatureHighS},
		{"s just above half the order", scalar(32, new(big.Int).Add(half, big.NewInt(1))), ErrSignatureHighS},
		{"s of half the order", scalar(32, half), nil},
		{"good", good[:], nil},
	} {
		sig, err := ParseSignature(c.raw)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: parse: %v, want %v", c.name, err, c.want)
		}
		if len(c.raw) != SignatureLength || c.want == nil {
			continue
		}
		if _, err := Recover(digest, sig); !errors.Is(err, c.want) {
			t.Errorf("%s: recover: %v, want %v", c.name, err, c.want)
		}
		if _, err := RecoverReference(digest, sig); !errors.Is(err, c.want) {
			t.Errorf("%s: reference: %v, want %v", c.name, err, c.want)
		}
	}
	other := mustKey(t, strings.Repeat("47", 32))
	if err := good.Verify(digest, other.Address()); !errors.Is(err, ErrSignatureAddress) {
		t.Errorf("another key's address: %v", err)
	}
	if err := good.Verify(Keccak256([]byte("other message")), key.Address()); err == nil {
		t.Error("a signature verifies for another digest")
	}
}

// An r that is no x coordinate of the curve recovers nothing.
func TestRecoverNoPoint(t *testing.T) {
	t.Parallel()
	good := mustKey(t, strings.Repeat("46", 32)).Sign(Hash{1})
	refused := 0
	for r := int64(1); r < 40; r++ {
		sig := withScalar(good, 0, big.NewInt(r))
		a, err := Recover(Hash{1}, sig)
		b, errB := RecoverReference(Hash{1}, sig)
		if a != b || (err == nil) != (errB == nil) {
			t.Errorf("r = %d: %s %v, reference %s %v", r, a, err, b, errB)
		}
		if err != nil {
			refused++
			if !errors.Is(err, ErrRecovery) || !errors.Is(errB, ErrRecovery) {
				t.Errorf("r = %d: %v, reference %v, want %v", r, err, errB, ErrRecovery)
			}
		}
	}
	if refused == 0 {
		t.Error("every small r is on the curve")
	}
}

func TestDigestSeparatesDomains(t *testing.T) {
	t.Parallel()
	vote, possession, registration := Digest(DomainVote, []byte("x")), Digest(DomainPossession, []byte("x")), Digest(DomainRegistration, []byte("x"))
	if vote == possession || vote == registration || possession == registration {
		t.Error("two domains give one digest")
	}
	if Digest(DomainVote, []byte("x")) != Keccak256([]byte("cairn-vote-v1\x00\x00\x00x")) {
		t.Error("a digest is not keccak256(domain ‖ parts)")
	}
	for _, d := range []Domain{DomainVote, DomainPossession, DomainRegistration} {
		if d[0] < 0x20 || d[0] > 0xbf {
			t.Errorf("domain %q could be the start of RLP or of a typed transaction", d[:])
		}
	}
}

// FuzzRecover holds the fast path to the reference on every input, so that a
// node built with cgo and one built without never disagree on a block.
func FuzzRecover(f *testing.F) {
	key := mustKey(f, strings.Repeat("46", 32))
	for i := byte(0); i < 4; i++ {
		digest := Keccak256([]byte{i})
		sig := key.Sign(digest)
		high := highS(sig)
		f.Add(digest[:], sig[:])
		f.Add(digest[:], high[:])
		f.Add(digest[:], append(bytes.Repeat([]byte{0}, 31), append([]byte{i + 1}, sig[32:]...)...))
	}
	f.Add(make([]byte, 32), bytes.Repeat([]byte{0xff}, 65))
	f.Fuzz(func(t *testing.T, rawDigest, rawSig []byte) {
		if len(rawDigest) != HashLength || len(rawSig) != SignatureLength {
			return
		}
		digest, sig := Hash(rawDigest), Signature(rawSig)
		a, err := Recover(digest, sig)
		b, errB := RecoverReference(digest, sig)
		if a != b || (err == nil) != (errB == nil) {
			t.Fatalf("digest %x signature %x: %s %v, reference %s %v", digest, sig, a, err, b, errB)
		}
		if err == nil {
			if err := sig.Verify(digest, a); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestRecoverAgreesOnRandomInput is the part of FuzzRecover that every test run
// does: signatures and their one-bit mutations.
func TestRecoverAgreesOnRandomInput(t *testing.T) {
	t.Parallel()
	for i := range 60 {
		key, err := GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		digest := Keccak256([]byte{byte(i)})
		sig := key.Sign(digest)
		for bit := i % 8; bit < 520; bit += 37 {
			s := sig
			s[bit/8] ^= 1 << (bit % 8)
			a, err := Recover(digest, s)
			b, errB := RecoverReference(digest, s)
			if a != b || (err == nil) != (errB == nil) {
				t.Fatalf("digest %x signature %x: %s %v, reference %s %v", digest, s, a, err, b, errB)
			}
			if a == key.Address() {
				t.Fatalf("digest %x: a changed signature %x is still by the key", digest, s)
			}
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	f.Add("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")
	f.Add("0x")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAddress(text)
		if err == nil && !strings.EqualFold(a.Hex(), text) {
			t.Fatalf("%q is read as %s", text, a)
		}
		if h, err := ParseHash(text); err == nil && !strings.EqualFold(h.Hex(), text) {
			t.Fatalf("%q is read as %s", text, h)
		}
	})
}

func BenchmarkRecover(b *testing.B) {
	digest := Keccak256([]byte("x"))
	sig := mustKey(b, strings.Repeat("46", 32)).Sign(digest)
	b.Run("fast", func(b *testing.B) {
		for b.Loop() {
			_, _ = Recover(digest, sig)
		}
	})
	b.Run("reference", func(b *testing.B) {
		for b.Loop() {
			_, _ = RecoverReference(digest, sig)
		}
	})
}
