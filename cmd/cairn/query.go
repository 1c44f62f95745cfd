package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"cairn/cmd/internal/args"
	"cairn/crypto"
	"cairn/wallet"

	"github.com/urfave/cli/v2"
)

// dial opens the node of --rpc.
func dial(c *cli.Context) (*wallet.Client, error) {
	return wallet.Dial(c.Context, c.String("rpc"))
}

func (t *terminal) balanceCommand() *cli.Command {
	return &cli.Command{
		Name: "balance", Usage: "show what an account holds", ArgsUsage: "ACCOUNT",
		Flags: []cli.Flag{rpcFlag(), keystoreFlag(), jsonFlag()},
		Action: action(func(c *cli.Context) error {
			address, err := wallet.OpenKeyStore(c.String("keystore")).Address(c.Args().First())
			if err != nil {
				return err
			}
			client, err := dial(c)
			if err != nil {
				return err
			}
			defer client.Close()
			wei, err := client.Balance(c.Context, address)
			if err != nil {
				return err
			}
			return t.line(c, struct {
				Address crypto.Address `json:"address"`
				Wei     string         `json:"wei"`
				Coins   string         `json:"coins"`
			}{address, wei.Dec(), wallet.FormatCoins(wei)}, wallet.FormatCoins(wei)+" coin")
		}),
	}
}

func (t *terminal) nonceCommand() *cli.Command {
	return &cli.Command{
		Name: "nonce", Usage: "show the nonce of an account's next transaction", ArgsUsage: "ACCOUNT",
		Flags: []cli.Flag{rpcFlag(), keystoreFlag(), jsonFlag()},
		Action: action(func(c *cli.Context) error {
			address, err := wallet.OpenKeyStore(c.String("keystore")).Address(c.Args().First())
			if err != nil {
				return err
			}
			client, err := dial(c)
			if err != nil {
				return err
			}
			defer client.Close()
			final, pending, err := client.Nonces(c.Context, address)
			if err != nil {
				return err
			}
			if pending > final {
				fmt.Fprintf(t.stderr, "%d of them pending\n", pending-final)
			}
			return t.line(c, struct {
				Address crypto.Address `json:"address"`
				Nonce   uint64         `json:"nonce"`
				Final   uint64         `json:"final"`
			}{address, pending, final}, strconv.FormatUint(pending, 10))
		}),
	}
}

type blockJSON struct {
	Number          uint64         `json:"number"`
	Hash            crypto.Hash    `json:"hash"`
	ParentHash      crypto.Hash    `json:"parentHash"`
	StateRoot       crypto.Hash    `json:"stateRoot"`
	TimestampMillis int64          `json:"timestampMillis"`
	Epoch           uint32         `json:"epoch"`
	View            uint64         `json:"view"`
	Proposer        crypto.Address `json:"proposer"`
	GasUsed         uint64         `json:"gasUsed"`
	GasLimit        uint64         `json:"gasLimit"`
	BaseFeeWei      string         `json:"baseFeeWei"`
	Size            uint64         `json:"size"`
	Transactions    []crypto.Hash  `json:"transactions"`
}

func (t *terminal) blockCommand() *cli.Command {
	return &cli.Command{
		Name: "block", Usage: "show a final block, by default the last", ArgsUsage: "[NUMBER|HASH|latest]",
		Flags: []cli.Flag{rpcFlag(), jsonFlag()},
		Action: action(func(c *cli.Context) error {
			b, err := findBlock(c)
			if err != nil {
				return err
			}
			return t.showBlock(c, b)
		}),
	}
}

func findBlock(c *cli.Context) (*wallet.Block, error) {
	which := c.Args().First()
	isHash := strings.HasPrefix(which, "0x")
	var hash crypto.Hash
	var height uint64
	var err error
	switch {
	case which == "" || which == "latest":
	case isHash:
		hash, err = crypto.ParseHash(which)
	default:
		height, err = strconv.ParseUint(which, 10, 64)
		if err != nil {
			err = args.Usagef("%.80q is no block number, block hash or latest", which)
		}
	}
	if err != nil {
		return nil, err
	}
	client, err := dial(c)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	switch {
	case which == "" || which == "latest":
		return client.LatestBlock(c.Context)
	case isHash:
		return client.BlockByHash(c.Context, hash)
	}
	return client.BlockByHeight(c.Context, height)
}

func (t *terminal) showBlock(c *cli.Context, b *wallet.Block) error {
	h := b.Header
	baseFee := "0"
	if h.BaseFee != nil {
		baseFee = h.BaseFee.String()
	}
	data := blockJSON{
		Number: h.Number.Uint64(), Hash: b.Hash, ParentHash: h.ParentHash, StateRoot: h.Root,
		TimestampMillis: b.Time.UnixMilli(), Epoch: b.Epoch, View: b.View, Proposer: h.Coinbase,
		GasUsed: h.GasUsed, GasLimit: h.GasLimit, BaseFeeWei: baseFee, Size: b.Size,
		Transactions: append([]crypto.Hash{}, b.Transactions...),
	}
	rows := []row{
		{"block", fmt.Sprint(data.Number)},
		{"hash", b.Hash.Hex()},
		{"parent", h.ParentHash.Hex()},
		{"state root", h.Root.Hex()},
		{"time", clock(b.Time)},
		{"epoch, view", fmt.Sprintf("%d, %d", b.Epoch, b.View)},
		{"proposer", h.Coinbase.Hex()},
		{"gas", fmt.Sprintf("%d of %d", h.GasUsed, h.GasLimit)},
		{"base fee", baseFee + " wei"},
		{"size", fmt.Sprintf("%d bytes", b.Size)},
		{"transactions", fmt.Sprint(len(b.Transactions))},
	}
	const shown = 20
	for i, hash := range b.Transactions {
		if i == shown {
			rows = append(rows, row{"", fmt.Sprintf("… and %d more, with --json", len(b.Transactions)-shown)})
			break
		}
		rows = append(rows, row{"", hash.Hex()})
	}
	return t.show(c, data, rows...)
}

type statusJSON struct {
	RPC                 string      `json:"rpc"`
	Version             string      `json:"version"`
	ChainID             uint64      `json:"chainId"`
	GenesisHash         crypto.Hash `json:"genesisHash"`
	Height              uint64      `json:"height"`
	Hash                crypto.Hash `json:"hash"`
	StateRoot           crypto.Hash `json:"stateRoot"`
	TimestampMillis     uint64      `json:"timestampMillis"`
	Epoch               uint64      `json:"epoch"`
	View                uint64      `json:"view"`
	Leader              string      `json:"leader"`
	Role                string      `json:"role"`
	Name                string      `json:"name"`
	Voting              bool        `json:"voting"`
	Observing           bool        `json:"observing"`
	Peers               int         `json:"peers"`
	Validators          int         `json:"validators"`
	Quorum              int         `json:"quorum"`
	ValidatorsConnected int         `json:"validatorsConnected"`
	Syncing             bool        `json:"syncing"`
	TargetHeight        uint64      `json:"targetHeight"`
	Pending             int         `json:"pendingTransactions"`
	Queued              int         `json:"queuedTransactions"`
	Healthy             bool        `json:"healthy"`
	Problems            []string    `json:"problems"`
}

func (t *terminal) statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "show how the node and its network are",
		Flags: []cli.Flag{rpcFlag(), jsonFlag()},
		Action: action(func(c *cli.Context) error {
			client, err := dial(c)
			if err != nil {
				return err
			}
			defer client.Close()
			s, err := client.Status(c.Context)
			if err != nil {
				return err
			}
			return t.showStatus(c, client.URL(), s)
		}),
	}
}

func (t *terminal) showStatus(c *cli.Context, url string, s *wallet.Status) error {
	data := statusJSON{
		RPC: url, Version: s.Version, ChainID: uint64(s.ChainID), GenesisHash: s.GenesisHash,
		Height: uint64(s.Height), Hash: s.Hash, StateRoot: s.StateRoot, TimestampMillis: uint64(s.TimestampMillis),
		Epoch: uint64(s.Epoch), View: uint64(s.View), Leader: s.Leader, Role: s.Role, Name: s.Name, Voting: s.Voting, Observing: s.Observing,
		Peers: s.Peers, Validators: s.Validators, Quorum: s.Quorum, ValidatorsConnected: s.Connected,
		Syncing: s.Syncing, TargetHeight: uint64(s.Target), Pending: s.Pending, Queued: s.Queued,
		Healthy: s.Healthy, Problems: append([]string{}, s.Problems...),
	}
	role := s.Role
	if s.Name != "" {
		role += " " + s.Name
	}
	switch {
	case s.Role == "validator" && s.Observing:
		role += ", observing: it signs nothing"
	case s.Role == "validator" && !s.Voting:
		role += ", not voting"
	}
	sync := "in step"
	if s.Syncing {
		sync = fmt.Sprintf("%d of %d", s.Height, s.Target)
	}
	rows := []row{
		{"node", url + "  " + s.Version},
		{"role", role},
		{"healthy", yesNo(s.Healthy)},
		{"chain", fmt.Sprintf("%d  genesis %s", s.ChainID, s.GenesisHash.Hex())},
		{"height", fmt.Sprint(uint64(s.Height))},
		{"hash", s.Hash.Hex()},
		{"state root", s.StateRoot.Hex()},
		{"time", clock(time.UnixMilli(int64(s.TimestampMillis)))},
		{"epoch, view", fmt.Sprintf("%d, %d  leader %s", s.Epoch, s.View, s.Leader)},
		{"validators", fmt.Sprintf("%d of %d reachable, quorum %d", s.Connected, s.Validators, s.Quorum)},
		{"peers", fmt.Sprint(s.Peers)},
		{"sync", sync},
		{"pool", fmt.Sprintf("%d pending, %d queued", s.Pending, s.Queued)},
	}
	for _, p := range s.Problems {
		rows = append(rows, row{"problem", p})
	}
	return t.show(c, data, rows...)
}
