package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/holiman/uint256"
	"github.com/urfave/cli/v2"

	"cairn/cmd/internal/args"
	"cairn/consensus"
	"cairn/crypto"
	"cairn/genesis"
	"cairn/ledger/chain"
)

func genesisCommand() *cli.Command {
	flags := []cli.Flag{
		homeFlag(),
		&cli.StringSliceFlag{Name: "validator", Usage: "validator `FILE` made by 'key show'; once for each validator", Required: true},
		&cli.StringFlag{Name: "alloc", Usage: `balances: a JSON ` + "`FILE`" + ` of [{"address": "0x…", "balance": "wei"}, …]`, Required: true},
		&cli.StringFlag{Name: "timestamp", Usage: "`TIME` of block 0: RFC 3339, or milliseconds since 1970", DefaultText: "now"},
		&cli.StringFlag{Name: "out", Usage: "write to the new `FILE` and not to stdout"},
	}
	return &cli.Command{
		Name:  "genesis",
		Usage: "the file that fixes a network before its first block",
		Subcommands: []*cli.Command{
			{
				Name:   "new",
				Usage:  "make a genesis file from validators, balances and rules",
				Flags:  append(flags, networkFlags()...),
				Action: genesisNew,
			},
			{
				Name:      "validate",
				Usage:     "check a genesis file and say what it makes",
				ArgsUsage: "FILE",
				Flags:     []cli.Flag{homeFlag()},
				Action:    genesisValidate,
			},
			{
				Name:      "hash",
				Usage:     "print the hash of block 0, which is the network's identity",
				ArgsUsage: "FILE",
				Flags:     []cli.Flag{homeFlag()},
				Action:    genesisHash,
			},
		},
	}
}

// networkFlags set what a genesis file says besides its members: identity and
// rules. Their defaults are genesis.DefaultRules.
func networkFlags() []cli.Flag {
	r := genesis.DefaultRules()
	ms := func(n uint64) time.Duration { return time.Duration(n) * time.Millisecond }
	return []cli.Flag{
		&cli.Uint64Flag{Name: "chain-id", Usage: "EIP-155 chain `ID`", DefaultText: "random"},
		&cli.StringFlag{Name: "name", Usage: "`NAME` of the network for people", DefaultText: "cairn-<chain id>"},
		&cli.Uint64Flag{Name: "gas-limit", Usage: "`GAS` of a block", Value: r.GasLimit},
		&cli.Uint64Flag{Name: "block-bytes", Usage: "`BYTES` of a block", Value: r.BlockBytes},
		&cli.Uint64Flag{Name: "block-transactions", Usage: "transactions of a block", Value: r.BlockTransactions},
		&cli.BoolFlag{Name: "free", Usage: "transactions pay no fee"},
		&cli.StringFlag{Name: "initial-base-fee", Usage: "`WEI` per gas in block 0", DefaultText: "min-base-fee"},
		&cli.StringFlag{Name: "min-base-fee", Usage: "`WEI` per gas below which the base fee never falls", DefaultText: r.Fees.MinBaseFee.Dec()},
		&cli.Uint64Flag{Name: "base-fee-change-denominator", Usage: "EIP-1559's bound of the change from block to block", Value: r.Fees.BaseFeeChangeDenominator},
		&cli.Uint64Flag{Name: "gas-target", Usage: "`GAS` of a block at which the base fee stays", DefaultText: "gas-limit"},
		&cli.StringFlag{Name: "base-fee-recipient", Usage: "`ADDRESS` that receives the base fee", DefaultText: "burned"},
		&cli.DurationFlag{Name: "min-block-interval", Usage: "least distance of two block timestamps", Value: ms(r.MinBlockInterval)},
		&cli.DurationFlag{Name: "heartbeat", Usage: "longest time without a block; 0: an idle network makes none", Value: ms(r.Heartbeat)},
		&cli.DurationFlag{Name: "delta", Usage: "covers a message's delay, a block's execution and a disk sync", Value: ms(r.Delta)},
		&cli.DurationFlag{Name: "delta-max", Usage: "cap of delta's growth after failed views", Value: ms(r.DeltaMax)},
		&cli.Uint64Flag{Name: "checkpoint-interval", Usage: "heights between state checkpoints", Value: r.CheckpointInterval},
		&cli.BoolFlag{Name: "remove-equivocators", Usage: "who is proven to contradict itself leaves the validators at their next change"},
	}
}

// networkFromFlags reads networkFlags. Bounds are checked with the whole Spec.
func networkFromFlags(c *cli.Context) (*genesis.Spec, error) {
	s := &genesis.Spec{ChainID: c.Uint64("chain-id"), Name: c.String("name"), Rules: genesis.DefaultRules()}
	if !c.IsSet("chain-id") {
		id, err := drawChainID(random)
		if err != nil {
			return nil, err
		}
		s.ChainID = id
	}
	if !c.IsSet("name") {
		s.Name = "cairn-" + strconv.FormatUint(s.ChainID, 10)
	}
	r := &s.Rules
	r.GasLimit, r.BlockBytes, r.BlockTransactions = c.Uint64("gas-limit"), c.Uint64("block-bytes"), c.Uint64("block-transactions")
	r.CheckpointInterval, r.RemoveEquivocators = c.Uint64("checkpoint-interval"), c.Bool("remove-equivocators")
	for name, to := range map[string]*uint64{
		"min-block-interval": &r.MinBlockInterval, "heartbeat": &r.Heartbeat, "delta": &r.Delta, "delta-max": &r.DeltaMax,
	} {
		d := c.Duration(name)
		if d < 0 || d%time.Millisecond != 0 {
			return nil, args.Usagef("--%s %s: want whole milliseconds, not negative", name, d)
		}
		*to = uint64(d.Milliseconds())
	}
	return s, feesFromFlags(c, r)
}

func feesFromFlags(c *cli.Context, r *genesis.Rules) error {
	f := &r.Fees
	f.Free, f.BaseFeeChangeDenominator, f.GasTarget = c.Bool("free"), c.Uint64("base-fee-change-denominator"), r.GasLimit
	if c.IsSet("gas-target") {
		f.GasTarget = c.Uint64("gas-target")
	}
	if f.Free {
		f.MinBaseFee = new(uint256.Int)
	}
	if err := weiFlag(c, "min-base-fee", &f.MinBaseFee); err != nil {
		return err
	}
	f.InitialBaseFee = f.MinBaseFee.Clone()
	if err := weiFlag(c, "initial-base-fee", &f.InitialBaseFee); err != nil {
		return err
	}
	if c.IsSet("base-fee-recipient") {
		a, err := crypto.ParseAddress(c.String("base-fee-recipient"))
		if err != nil {
			return args.Usagef("--base-fee-recipient: %s", err)
		}
		f.BaseFeeRecipient = &a
	}
	return nil
}

func weiFlag(c *cli.Context, name string, to **uint256.Int) error {
	if !c.IsSet(name) {
		return nil
	}
	n, err := uint256.FromDecimal(c.String(name))
	if err != nil {
		return args.Usagef("--%s %q: want a whole number of wei", name, c.String(name))
	}
	*to = n
	return nil
}

// drawChainID draws from 2^20 to 2^31−1: above the ids that public networks
// use, and small enough for every wallet.
func drawChainID(r io.Reader) (uint64, error) {
	var b [4]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, fmt.Errorf("draw a chain id: %w", err)
	}
	const low, high = 1 << 20, 1 << 31
	return low + uint64(binary.BigEndian.Uint32(b[:]))%(high-low), nil
}

func genesisNew(c *cli.Context) error {
	s, err := networkFromFlags(c)
	if err != nil {
		return err
	}
	if s.Timestamp, err = timestampFlag(c); err != nil {
		return err
	}
	files := c.StringSlice("validator")
	for _, file := range files {
		v, err := readCandidate(file)
		if err != nil {
			return err
		}
		s.Validators = append(s.Validators, v.Validator)
	}
	raw, err := readLimited(c.String("alloc"), genesis.MaxFileBytes)
	if err != nil {
		return fmt.Errorf("read the balances: %w", err)
	}
	if s.Alloc, err = genesis.ParseAlloc(raw); err != nil {
		return fmt.Errorf("%s: %w", c.String("alloc"), err)
	}
	raw, hash, err := encodeGenesis(s)
	if err != nil {
		return err
	}
	if err := writeOut(c, raw); err != nil {
		return err
	}
	fmt.Fprintf(c.App.ErrWriter, "genesis hash %s\n", hash)
	return nil
}

func timestampFlag(c *cli.Context) (uint64, error) {
	text := c.String("timestamp")
	if text == "" {
		return uint64(time.Now().UnixMilli()), nil
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return n, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.UnixMilli() < 0 {
		return 0, args.Usagef("--timestamp %q: want a time such as 2026-01-31T12:00:00Z, or milliseconds since 1970", text)
	}
	return uint64(t.UnixMilli()), nil
}

func readCandidate(file string) (*genesis.Candidate, error) {
	raw, err := readLimited(file, genesis.MaxFileBytes)
	if err != nil {
		return nil, fmt.Errorf("read the validator file: %w", err)
	}
	v, err := genesis.ParseCandidate(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return v, nil
}

// encodeGenesis is the canonical file of a checked Spec, and block 0's hash.
func encodeGenesis(s *genesis.Spec) ([]byte, crypto.Hash, error) {
	if err := s.Validate(); err != nil {
		return nil, crypto.Hash{}, err
	}
	raw := s.Marshal()
	s, err := genesis.Parse(raw)
	if err != nil {
		return nil, crypto.Hash{}, err
	}
	hash, err := blockZero(s)
	return raw, hash, err
}

func blockZero(s *genesis.Spec) (crypto.Hash, error) {
	block, _, err := chain.Genesis(s)
	if err != nil {
		return crypto.Hash{}, err
	}
	return block.Hash(), nil
}

func writeOut(c *cli.Context, raw []byte) error {
	if out := c.String("out"); out != "" {
		return writeNew(out, raw, 0o644)
	}
	_, err := c.App.Writer.Write(raw)
	return err
}

// readGenesis reads and checks a genesis file and answers block 0's hash.
func readGenesis(file string) (*genesis.Spec, crypto.Hash, error) {
	raw, err := readLimited(file, genesis.MaxFileBytes)
	if err != nil {
		return nil, crypto.Hash{}, fmt.Errorf("read the genesis file: %w", err)
	}
	s, err := genesis.Parse(raw)
	if err != nil {
		return nil, crypto.Hash{}, fmt.Errorf("%s: %w", file, err)
	}
	hash, err := blockZero(s)
	if err != nil {
		return nil, crypto.Hash{}, fmt.Errorf("%s: %w", file, err)
	}
	return s, hash, nil
}

func genesisHash(c *cli.Context) error {
	_, hash, err := readGenesis(c.Args().First())
	if err == nil {
		fmt.Fprintln(c.App.Writer, hash)
	}
	return err
}

func genesisValidate(c *cli.Context) error {
	s, hash, err := readGenesis(c.Args().First())
	if err != nil {
		return err
	}
	w, n := c.App.Writer, len(s.Validators)
	var supply uint256.Int
	for _, a := range s.Alloc {
		supply.Add(&supply, a.Balance)
	}
	fmt.Fprintf(w, "name        %s\n", s.Name)
	fmt.Fprintf(w, "chain id    %d\n", s.ChainID)
	fmt.Fprintf(w, "hash        %s\n", hash)
	fmt.Fprintf(w, "block 0     %s\n", time.UnixMilli(int64(s.Timestamp)).UTC().Format(time.RFC3339Nano))
	fmt.Fprintf(w, "validators  %d; %d make a quorum, %d may fail in any way\n", n, consensus.Quorum(n), consensus.Faults(n))
	for _, v := range s.Validators {
		fmt.Fprintf(w, "            %s %s %s\n", v.Address, v.PeerID, v.Name)
	}
	fmt.Fprintf(w, "accounts    %d, with %s wei together\n", len(s.Alloc), supply.Dec())
	warnDevelopment(c, s)
	return nil
}

// warnDevelopment tells that anybody can sign for a member of the network.
func warnDevelopment(c *cli.Context, s *genesis.Spec) {
	for _, v := range s.Validators {
		if genesis.IsDevelopmentKey(v.Address) {
			fmt.Fprintf(c.App.ErrWriter, "warning: everybody knows the key of validator %s: for development only\n", v.Name)
		}
	}
	for _, a := range s.Alloc {
		if genesis.IsDevelopmentKey(a.Address) {
			fmt.Fprintf(c.App.ErrWriter, "warning: everybody knows the key of account %s, which has a balance: for development only\n", a.Address)
			return
		}
	}
}
