package chain

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"cairn/crypto"
	"cairn/genesis"
)

// network is a memory that a test drives with calls of the registry. Members
// have the keys 0, 1, … and money; so have the accounts after them.
type network struct {
	*memory
	t testing.TB
}

// member is the validator with key i.
func member(t testing.TB, i int) genesis.Validator {
	peer := crypto.Keccak256(fmt.Appendf(nil, "peer %d", i))
	return genesis.Validator{Address: key(t, i).Address(), PeerID: genesis.PeerID(peer[:]), Name: fmt.Sprintf("member-%d", i)}
}

// newNetwork has validators with the keys 0 to n−1 and money for accounts keys.
func newNetwork(t testing.TB, n, accounts int) *network {
	t.Helper()
	spec := testSpec(t, accounts)
	spec.Validators = nil
	for i := range n {
		spec.Validators = append(spec.Validators, member(t, i))
	}
	return &network{newMemory(t, spec), t}
}

// input is a call in ABI encoding.
func input(t testing.TB, method string, args ...any) []byte {
	t.Helper()
	b, err := registryABI.Pack(method, args...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// registration is the input of a call that registers v, whose key is i.
func registration(t testing.TB, i int, v genesis.Validator, number uint64) []byte {
	proof := genesis.SignRegistration(key(t, i), testChainID, v, number)
	return input(t, "register", v.Address, v.PeerID, v.Name, proof[:])
}

// tx is a transaction of key i to the registry; the nonce is that of the head
// plus ahead.
func (n *network) tx(i int, ahead uint64, data []byte) *types.Transaction {
	from := key(n.t, i)
	nonce := ahead
	if acc := n.accounts[from.Address()]; acc != nil {
		nonce += acc.Nonce
	}
	d := dynamic(nonce, RegistryAddress, new(uint256.Int), 1, 2_000_000_000)
	d.Data = data
	d.Gas = Gas(types.NewTx(d))
	return sign(n.t, from, d)
}

// block makes a block of txs, checks that a checker agrees with the builder, and
// makes it the head.
func (n *network) block(txs ...*types.Transaction) (*types.Block, *Output) {
	n.t.Helper()
	block, built := n.build(n.t, txs...)
	out, err := Execute(n.cfg, n.head, n.state(), block)
	if err != nil {
		n.t.Fatalf("the checker refuses what the builder made: %v", err)
	}
	if built.Accounts.Hash() != out.Accounts.Hash() || built.Closing != out.Closing || !reflect.DeepEqual(built.Slots, out.Slots) ||
		len(out.Receipts) > 0 && !reflect.DeepEqual(built.Receipts, out.Receipts) || (out.NextSet == nil) == out.Closing {
		n.t.Fatalf("built %+v, executed %+v", built, out)
	}
	if out.Closing != (block.MixDigest() != crypto.Hash{}) || out.Closing && block.MixDigest() != out.NextSet.Hash() {
		n.t.Fatalf("closing %t, mix hash %s", out.Closing, block.MixDigest())
	}
	n.commit(block, out)
	return block, out
}

// call runs one call in a block of its own and answers its receipt; what an
// eth_call of it says before must agree.
func (n *network) call(i int, data []byte) (*types.Receipt, error) {
	n.t.Helper()
	_, err := CallRegistry(n.cfg, n.memory, Call{From: key(n.t, i).Address(), Input: data})
	tx := n.tx(i, 0, data)
	_, out := n.block(tx)
	r := out.Receipts[0]
	if (err == nil) != (r.Status == 1) {
		n.t.Fatalf("eth_call: %v, status %d", err, r.Status)
	}
	if r.GasUsed != Gas(tx) {
		n.t.Fatalf("gas used %d, want %d", r.GasUsed, Gas(tx))
	}
	return r, err
}

// mustCall is call of what must succeed.
func (n *network) mustCall(i int, data []byte) *types.Receipt {
	n.t.Helper()
	r, err := n.call(i, data)
	if err != nil {
		n.t.Fatal(err)
	}
	return r
}

// view answers the values of a view.
func (n *network) view(method string, args ...any) []any {
	n.t.Helper()
	out, err := CallRegistry(n.cfg, n.memory, Call{Input: input(n.t, method, args...)})
	if err != nil {
		n.t.Fatalf("%s: %v", method, err)
	}
	values, err := registryABI.Unpack(method, out)
	if err != nil {
		n.t.Fatalf("%s answers %x: %v", method, out, err)
	}
	return values
}

func (n *network) number(method string, args ...any) uint64 {
	n.t.Helper()
	return n.view(method, args...)[0].(*big.Int).Uint64()
}

// list are the validators or candidates that a view answers.
func (n *network) list(method string, args ...any) []genesis.Validator {
	n.t.Helper()
	values := reflect.ValueOf(n.view(method, args...)[0])
	out := make([]genesis.Validator, values.Len())
	for i := range out {
		v := values.Index(i)
		out[i] = genesis.Validator{Address: v.Field(0).Interface().(crypto.Address), PeerID: v.Field(1).String(), Name: v.Field(2).String()}
	}
	return out
}

// admit registers key i and lets the members vote it in.
func (n *network) admit(i int, voters ...int) *Output {
	n.t.Helper()
	v := member(n.t, i)
	n.mustCall(i, registration(n.t, i, v, n.number("registrations", v.Address)))
	return n.change(i, true, voters...)
}

// change lets voters vote, each in a block of its own but the last two, and
// answers the last block's output.
func (n *network) change(i int, add bool, voters ...int) *Output {
	n.t.Helper()
	data := input(n.t, "vote", key(n.t, i).Address(), add)
	last := len(voters) - 1
	for _, v := range voters[:last] {
		if _, out := n.block(n.tx(v, 0, data)); out.Closing || out.Receipts[0].Status != 1 {
			n.t.Fatalf("vote of %d closed %t, status %d", v, out.Closing, out.Receipts[0].Status)
		}
	}
	_, out := n.block(n.tx(voters[last], 0, data))
	return out
}

func TestRegistryABIFileIsTheCodes(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("../../docs/registry.abi.json")
	if err != nil || !bytes.Equal(file, RegistryABI) {
		t.Fatalf("docs/registry.abi.json is not ledger/chain/registry.abi.json: %v", err)
	}
	doc, err := os.ReadFile("../../docs/registry.md")
	if err != nil {
		t.Fatal(err)
	}
	n := newNetwork(t, 1, 1)
	for _, m := range registryABI.Methods {
		if !bytes.Contains(doc, []byte("`"+m.Sig+"`")) {
			t.Errorf("docs/registry.md does not name %s", m.Sig)
		}
		args := make([]any, len(m.Inputs))
		for i, in := range m.Inputs {
			args[i] = reflect.New(in.Type.GetType()).Elem().Interface()
			if in.Type.T == abi.UintTy && in.Type.Size > 64 {
				args[i] = new(big.Int)
			}
		}
		// Every method has code: else it panics.
		_, err := CallRegistry(n.cfg, n.memory, Call{Input: input(t, m.RawName, args...)})
		if m.IsConstant() != (err == nil) || m.IsConstant() == (callGas[m.RawName] != 0) {
			t.Errorf("%s: %v, gas %d", m.Sig, err, callGas[m.RawName])
		}
	}
	for _, e := range registryABI.Events {
		if !bytes.Contains(doc, []byte(e.ID.Hex())) || !bytes.Contains(doc, []byte("`"+e.Sig+"`")) {
			t.Errorf("docs/registry.md does not say that the topic of %s is %s", e.Sig, e.ID)
		}
	}
	// The selectors and topics are those that anyone computes.
	if got := registryABI.Methods["vote"].ID; !bytes.Equal(got, crypto.Keccak256([]byte("vote(address,bool)")).Bytes()[:4]) {
		t.Errorf("selector of vote %x", got)
	}
	if got := registryABI.Events["SetChanged"].ID; got != crypto.Keccak256([]byte("SetChanged(uint256,bytes32,uint256)")) {
		t.Errorf("topic of SetChanged %s", got)
	}
}

func TestRegistryReasonsAreDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/registry.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []ErrorKind{
		RevertValue, RevertMethod, RevertView, RevertArguments, RevertCandidate, RevertProof, RevertMember, RevertPeerID, RevertName,
		RevertNotRegistered, RevertNotValidator, RevertNotMember, RevertVoted, RevertNoVote, RevertLast, RevertFull, RevertEpoch, RevertRange,
		RevertReports, RevertEvidence, RevertSignature, RevertConvicted,
	} {
		if !strings.Contains(string(doc), "`"+string(k)+"`") {
			t.Errorf("docs/registry.md does not list %q", k)
		}
	}
	for name, gas := range callGas {
		if !strings.Contains(string(doc), fmt.Sprintf("| `%s` | %d |", registryABI.Methods[name].Sig, gas)) {
			t.Errorf("docs/registry.md does not give the gas of %s, %d", name, gas)
		}
	}
}

// TestRegistryRefuses has every reason. After each the state is as before but
// for the sender's nonce and fee.
func TestRegistryRefuses(t *testing.T) {
	t.Parallel()
	const candidate, outsider = 10, 11
	registered, other := member(t, candidate), member(t, 12)
	with := func(f func(*genesis.Validator)) genesis.Validator {
		v := other
		f(&v)
		return v
	}
	register := func(v genesis.Validator) []byte { return registration(t, 12, v, 0) }
	proof := genesis.SignRegistration(key(t, 12), testChainID, other, 0)
	withProof := func(p []byte) []byte { return input(t, "register", other.Address, other.PeerID, other.Name, p) }
	elsewhere := genesis.SignRegistration(key(t, 12), testChainID+1, other, 0)
	early := genesis.PossessionDigest(other.Address, other.PeerID)
	possession := key(t, 12).Sign(early)
	vote := func(i int, add bool) []byte { return input(t, "vote", key(t, i).Address(), add) }
	dirty := func(b []byte, at int) []byte { b = bytes.Clone(b); b[at] ^= 1; return b }
	for name, c := range map[string]struct {
		from int
		data []byte
		kind ErrorKind
	}{
		"nothing":                     {0, nil, RevertMethod},
		"three bytes":                 {0, []byte{1, 2, 3}, RevertMethod},
		"unknown selector":            {0, []byte{1, 2, 3, 4}, RevertMethod},
		"too long":                    {0, append(vote(candidate, true), make([]byte, maxCallBytes)...), RevertArguments},
		"no arguments":                {0, vote(candidate, true)[:4], RevertArguments},
		"cut":                         {0, vote(candidate, true)[:67], RevertArguments},
		"a byte more":                 {0, append(vote(candidate, true), 0), RevertArguments},
		"dirty address":               {0, dirty(vote(candidate, true), 5), RevertArguments},
		"boolean of 2":                {0, dirty(dirty(vote(candidate, true), 67), 66), RevertArguments},
		"offset elsewhere":            {0, dirty(register(other), 4+32+30), RevertArguments},
		"dirty string":                {0, dirty(register(other), 4+4*32+32+63), RevertArguments},
		"register zero":               {0, register(with(func(v *genesis.Validator) { v.Address = crypto.Address{} })), RevertCandidate},
		"register the registry":       {0, register(with(func(v *genesis.Validator) { v.Address = RegistryAddress })), RevertCandidate},
		"register bad peer id":        {0, register(with(func(v *genesis.Validator) { v.PeerID += "1" })), RevertCandidate},
		"register bad name":           {0, register(with(func(v *genesis.Validator) { v.Name = "Ann" })), RevertCandidate},
		"register no name":            {0, register(with(func(v *genesis.Validator) { v.Name = "" })), RevertCandidate},
		"register a member":           {0, registration(t, 1, member(t, 1), 0), RevertMember},
		"register a member's peer":    {0, register(with(func(v *genesis.Validator) { v.PeerID = member(t, 1).PeerID })), RevertPeerID},
		"register a member's name":    {0, register(with(func(v *genesis.Validator) { v.Name = member(t, 1).Name })), RevertName},
		"proof of 64 bytes":           {0, withProof(proof[:64]), RevertProof},
		"proof of another key":        {0, registration(t, 13, other, 0), RevertProof},
		"proof for another chain":     {0, withProof(elsewhere[:]), RevertProof},
		"proof made for genesis":      {0, withProof(possession[:]), RevertProof},
		"proof of another number":     {0, registration(t, 12, other, 1), RevertProof},
		"proof used up":               {0, registration(t, candidate, registered, 0), RevertProof},
		"proof for another name":      {0, input(t, "register", other.Address, other.PeerID, "mallory", proof[:]), RevertProof},
		"withdraw of a stranger":      {outsider, input(t, "withdraw"), RevertNotRegistered},
		"withdraw of a member":        {0, input(t, "withdraw"), RevertNotRegistered},
		"vote of a stranger":          {outsider, vote(candidate, true), RevertNotValidator},
		"vote of a candidate":         {candidate, vote(candidate, true), RevertNotValidator},
		"add who never registered":    {0, vote(outsider, true), RevertNotRegistered},
		"add a member":                {0, vote(1, true), RevertMember},
		"remove who is none":          {0, vote(candidate, false), RevertNotMember},
		"vote twice":                  {1, vote(candidate, true), RevertVoted},
		"revoke of a stranger":        {outsider, input(t, "revoke", registered.Address), RevertNotValidator},
		"revoke what was not voted":   {0, input(t, "revoke", registered.Address), RevertNoVote},
		"revoke what was never asked": {0, input(t, "revoke", key(t, 3).Address()), RevertNoVote},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, 4, 14)
			n.mustCall(outsider, registration(t, candidate, registered, 0))
			n.mustCall(1, vote(candidate, true))
			before := n.storage[RegistryAddress].Hash()
			r, err := n.call(c.from, c.data)
			if !errors.Is(err, c.kind) || r.Status != 0 || len(r.Logs) != 0 {
				t.Fatalf("%v, status %d, want %v", err, r.Status, c.kind)
			}
			var revert *RevertError
			if !errors.As(err, &revert) || !strings.HasPrefix(err.Error(), "execution reverted: "+string(c.kind)) {
				t.Errorf("error %v", err)
			}
			// What go-ethereum reads out of the data is the reason.
			if reason, err := abi.UnpackRevert(revert.Output()); err != nil || reason != revert.Reason() {
				t.Errorf("revert data says %q, %v, want %q", reason, err, revert.Reason())
			}
			if n.storage[RegistryAddress].Hash() != before {
				t.Error("a refused call changed storage")
			}
		})
	}
}

func TestRegistryTakesNoValue(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1, 12)
	data := registration(t, 10, member(t, 10), 0)
	d := dynamic(0, RegistryAddress, uint256.NewInt(5), 1, 2_000_000_000)
	d.Data = data
	d.Gas = Gas(types.NewTx(d)) + 1000
	_, out := n.block(sign(t, key(t, 3), d))
	if r := out.Receipts[0]; r.Status != 0 || r.GasUsed != d.Gas-1000 || !n.balance(RegistryAddress).IsZero() {
		t.Errorf("receipt %+v, the registry has %d wei", r, n.balance(RegistryAddress))
	}
	for _, data := range [][]byte{data, input(t, "validators")} {
		if _, err := CallRegistry(n.cfg, n.memory, Call{Value: uint256.NewInt(1), Input: data}); !errors.Is(err, RevertValue) {
			t.Errorf("%v", err)
		}
	}
}

// TestRegistryRemovesAllButTheLast: the last member cannot be removed, neither in
// one block with others nor alone.
func TestRegistryRemovesAllButTheLast(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 3, 4)
	var txs []*types.Transaction
	for subject := range uint64(3) {
		for voter := range 2 {
			txs = append(txs, n.tx(voter, subject, input(t, "vote", key(t, int(subject)).Address(), false)))
		}
	}
	_, out := n.block(txs...)
	for i, r := range out.Receipts {
		if want := uint64(1); i >= 4 && r.Status != 0 || i < 4 && r.Status != want {
			t.Errorf("vote %d: status %d", i, r.Status)
		}
	}
	if !out.Closing || out.NextSet.Len() != 1 || out.NextSet.At(0) != member(t, 2) {
		t.Fatalf("next set %+v", out.NextSet)
	}
	if _, err := n.call(2, input(t, "vote", key(t, 2).Address(), false)); !errors.Is(err, RevertLast) {
		t.Errorf("%v", err)
	}
	if _, err := n.call(0, input(t, "vote", key(t, 2).Address(), false)); !errors.Is(err, RevertNotValidator) {
		t.Errorf("a former member votes: %v", err)
	}
}

func TestRegistryIsFull(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, maxMembers, 1)
	// The member at the last place has a bit in the vote set too.
	if got := len(n.list("validators")); got != maxMembers {
		t.Fatalf("%d validators", got)
	}
	g, err := loadRegistry(n.memory)
	if err != nil {
		t.Fatal(err)
	}
	g.putCandidate(member(t, 1000))
	for i := range maxMembers {
		_, err := g.vote(g.set.At(i).Address, member(t, 1000).Address, true)
		if !errors.Is(err, RevertFull) {
			t.Fatalf("%v", err)
		}
	}
	g.next = g.next[:maxMembers-1]
	for i := maxMembers - 1; g.enacted == 0; i-- {
		if _, err := g.vote(g.set.At(i).Address, member(t, 1000).Address, true); err != nil || g.err != nil {
			t.Fatal(err, g.err)
		}
		if count := maxMembers - i; count > genesis.Quorum(maxMembers) {
			t.Fatalf("%d votes enact nothing", count)
		}
	}
	if len(g.next) != maxMembers {
		t.Errorf("%d members", len(g.next))
	}
	spec := testSpec(t, 0)
	for i := range maxMembers {
		spec.Validators = append(spec.Validators, member(t, i))
	}
	if _, _, err := Genesis(spec); !errors.Is(err, ErrSpec) {
		t.Errorf("block 0 with too many members: %v", err)
	}
}

func TestCallGas(t *testing.T) {
	t.Parallel()
	elsewhere := crypto.Address{1}
	for name, c := range map[string]struct {
		to   *crypto.Address
		data []byte
		want uint64
	}{
		"another account": {&elsewhere, input(t, "withdraw"), 0},
		"nobody":          {nil, input(t, "withdraw"), 0},
		"no method":       {&RegistryAddress, nil, gasNoMethod},
		"too long":        {&RegistryAddress, append(input(t, "withdraw"), make([]byte, 2000)...), gasNoMethod},
		"view":            {&RegistryAddress, input(t, "epoch"), gasNoMethod},
		"malformed":       {&RegistryAddress, append(input(t, "withdraw"), 1), gasWithdraw},
		"vote":            {&RegistryAddress, input(t, "vote", elsewhere, true), gasVote},
	} {
		if got := CallGas(c.to, c.data); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// TestRegistryOutOfGas: one unit less than it needs, and a call does nothing and
// uses all its gas.
func TestRegistryOutOfGas(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 1, 12)
	d := dynamic(0, RegistryAddress, new(uint256.Int), 1, 2_000_000_000)
	d.Data = registration(t, 10, member(t, 10), 0)
	d.Gas = Gas(types.NewTx(d)) - 1
	_, out := n.block(sign(t, key(t, 3), d))
	if r := out.Receipts[0]; r.Status != 0 || r.GasUsed != d.Gas || len(out.Slots) != 0 {
		t.Errorf("receipt %+v, %d slots", r, len(out.Slots))
	}
	if n.number("candidateCount") != 0 {
		t.Error("it ran")
	}
}
