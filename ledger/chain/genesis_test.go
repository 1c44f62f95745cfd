package chain

import (
	"errors"
	"reflect"
	"testing"

	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	ethtrie "github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/triedb"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/genesis"
)

func TestGenesisIsABlock(t *testing.T) {
	t.Parallel()
	spec := testSpec(t, 2)
	block, out, err := Genesis(spec)
	if err != nil {
		t.Fatal(err)
	}
	rules := spec.Rules
	back, err := DecodeBlock(EncodeBlock(block), &rules)
	if err != nil || back.Hash() != block.Hash() {
		t.Fatalf("block 0 came back as %v, %v", back, err)
	}
	extra, err := DecodeExtra(block.Header())
	if err != nil || extra.TimestampMillis != spec.Timestamp || extra.Epoch != 0 || extra.View != 0 {
		t.Errorf("extra data %+v, %v", extra, err)
	}
	if block.NumberU64() != 0 || block.Time() != spec.Timestamp/1000 || block.MixDigest() != RulesHash(spec) || out.Closing {
		t.Errorf("header %+v", block.Header())
	}
	m := newMemory(t, spec)
	if want := referenceStateRoot(t, m); block.Root() != want {
		t.Errorf("state root %s, go-ethereum's trie has %s", block.Root(), want)
	}
	tr := ethtrie.NewEmpty(triedb.NewDatabase(rawdb.NewMemoryDatabase(), nil))
	for _, s := range out.Slots {
		k := crypto.Keccak256(s.Slot[:])
		tr.MustUpdate(k[:], EncodeSlot(s.New))
	}
	if got := m.accounts[RegistryAddress]; got.StorageRoot != tr.Hash() || got.CodeHash != crypto.Keccak256([]byte{0xfe}) {
		t.Errorf("registry account %+v, storage root by go-ethereum %s", got, tr.Hash())
	}
	again, _, err := Genesis(testSpec(t, 2))
	if err != nil || again.Hash() != block.Hash() {
		t.Errorf("the same spec gave %s and %s", block.Hash(), again.Hash())
	}
}

// TestGenesisHashCommitsToEveryField walks the Spec by reflection, so that a new
// field without a place in block 0 fails here.
func TestGenesisHashCommitsToEveryField(t *testing.T) {
	t.Parallel()
	hash := func(spec *genesis.Spec) crypto.Hash {
		t.Helper()
		block, _, err := Genesis(spec)
		if err != nil {
			t.Fatal(err)
		}
		return block.Hash()
	}
	seen := map[crypto.Hash]string{hash(fullSpec(t)): "nothing"}
	var count int
	var walk func(path string, at func(*genesis.Spec) reflect.Value)
	walk = func(path string, at func(*genesis.Spec) reflect.Value) {
		spec := fullSpec(t)
		v := at(spec)
		switch x := v.Interface().(type) {
		case *uint256.Int:
			v.Set(reflect.ValueOf(new(uint256.Int).AddUint64(x, 1)))
		case *crypto.Address:
			v.Set(reflect.Zero(v.Type()))
		case crypto.Address:
			x[5]++
			v.Set(reflect.ValueOf(x))
		case uint64:
			v.SetUint(x + 1)
		case bool:
			v.SetBool(!x)
		case string:
			v.SetString(x + "x")
		default:
			switch v.Kind() {
			case reflect.Struct:
				for i := range v.NumField() {
					walk(path+"."+v.Type().Field(i).Name, func(s *genesis.Spec) reflect.Value { return at(s).Field(i) })
				}
			case reflect.Slice:
				for i := range v.Len() {
					walk(path, func(s *genesis.Spec) reflect.Value { return at(s).Index(i) })
				}
			default:
				t.Fatalf("%s: what to do with a %s?", path, v.Type())
			}
			return
		}
		count++
		h := hash(spec)
		if other, ok := seen[h]; ok {
			t.Errorf("changing %s gives the hash of changing %s", path, other)
		}
		seen[h] = path
	}
	walk("Spec", func(s *genesis.Spec) reflect.Value { return reflect.ValueOf(s).Elem() })
	if count < 25 {
		t.Errorf("only %d fields were changed", count)
	}
}

// fullSpec has every optional field.
func fullSpec(t *testing.T) *genesis.Spec {
	spec := testSpec(t, 2)
	spec.Rules.Fees.BaseFeeRecipient = &crypto.Address{7}
	return spec
}

func TestGenesisRefuses(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(*genesis.Spec){
		"no validators":      func(s *genesis.Spec) { s.Validators = nil },
		"registry allocated": func(s *genesis.Spec) { s.Alloc[0].Address = RegistryAddress },
		"allocated twice":    func(s *genesis.Spec) { s.Alloc[1].Address = s.Alloc[0].Address },
		"sum overflows":      func(s *genesis.Spec) { s.Alloc[0].Balance = new(uint256.Int).SetAllOne() },
		"timestamp":          func(s *genesis.Spec) { s.Timestamp = 1 << 63 },
	} {
		spec := testSpec(t, 2)
		f(spec)
		if _, _, err := Genesis(spec); !errors.Is(err, ErrSpec) {
			t.Errorf("%s: %v", name, err)
		}
	}
	spec := testSpec(t, 2)
	spec.Alloc[0].Balance = new(uint256.Int)
	m := newMemory(t, spec)
	if m.accounts[spec.Alloc[0].Address] != nil {
		t.Error("an allocation of 0 made an empty account")
	}
}

func TestRegistryRoundTrip(t *testing.T) {
	t.Parallel()
	spec := testSpec(t, 0)
	m := newMemory(t, spec)
	set, epoch, err := ReadRegistry(m)
	if err != nil || epoch != 0 {
		t.Fatal(epoch, err)
	}
	want, err := genesis.NewValidatorSet(spec.Validators)
	if err != nil || set.Hash() != want.Hash() || set.Len() != 2 || set.At(0).Address != (crypto.Address{1}) || set.At(0).PeerID != spec.Validators[1].PeerID {
		t.Fatalf("read %+v, want %+v, %v", set, want, err)
	}
	slots := m.slots[RegistryAddress]
	if got := slots[indexSlot(crypto.Address{2})]; got != slotNumber(2) {
		t.Errorf("index of the second member is %s", got)
	}
	// A string of 32 characters is a long one, of 31 a short one.
	if slots[slotPlus(memberSlot(0), 2)] != slotNumber(65) || slots[slotPlus(memberSlot(1), 2)][31] != 2 {
		t.Error("names are not laid out as Solidity does")
	}
	for name, slot := range map[string]crypto.Hash{
		"layout": slotNumber(slotLayout), "hash": slotNumber(slotSetHash), "count": slotNumber(slotMembers),
		"address": memberSlot(0), "peer id": slotPlus(memberSlot(0), 1), "name": slotPlus(memberSlot(1), 2),
	} {
		for _, change := range []func(*crypto.Hash){
			func(h *crypto.Hash) { *h = crypto.Hash{} },
			func(h *crypto.Hash) { h[0] ^= 0xff },
			func(h *crypto.Hash) { h[30] ^= 0xff },
			func(h *crypto.Hash) { h[31] ^= 0xff },
		} {
			old := slots[slot]
			v := old
			change(&v)
			slots[slot] = v
			if _, _, err := ReadRegistry(m); v != old && !errors.Is(err, ErrRegistry) {
				t.Errorf("%s changed to %s: %v", name, v, err)
			}
			slots[slot] = old
		}
	}
	if _, _, err := ReadRegistry(brokenSlots{m}); !errors.Is(err, errDisk) || errors.Is(err, ErrRegistry) {
		t.Errorf("a failed read: %v", err)
	}
}

type brokenSlots struct{ Reader }

func (brokenSlots) Slot(crypto.Address, crypto.Hash) (crypto.Hash, error) {
	return crypto.Hash{}, errDisk
}

func TestDevelopmentNetworkHasABlock0(t *testing.T) {
	t.Parallel()
	block, _, err := Genesis(genesis.Development())
	if err != nil {
		t.Fatal(err)
	}
	if block.UncleHash() != types.EmptyUncleHash || block.TxHash() != types.EmptyTxsHash {
		t.Errorf("header %+v", block.Header())
	}
}
