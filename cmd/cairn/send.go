package main

import (
	"errors"
	"fmt"
	"time"

	"cairn/cmd/internal/args"
	"cairn/crypto"
	"cairn/wallet"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
	"github.com/urfave/cli/v2"
)

type sendJSON struct {
	Hash                 crypto.Hash    `json:"hash"`
	ChainID              uint64         `json:"chainId"`
	From                 crypto.Address `json:"from"`
	To                   crypto.Address `json:"to"`
	Wei                  string         `json:"wei"`
	Coins                string         `json:"coins"`
	Nonce                uint64         `json:"nonce"`
	Status               string         `json:"status"` // pending, final or failed
	BlockNumber          *uint64        `json:"blockNumber"`
	BlockHash            *crypto.Hash   `json:"blockHash"`
	GasUsed              *uint64        `json:"gasUsed"`
	EffectiveGasPriceWei *string        `json:"effectiveGasPriceWei"`
	FeeWei               *string        `json:"feeWei"`
}

func (t *terminal) sendCommand() *cli.Command {
	return &cli.Command{
		Name: "send", Usage: "send coins and wait until the transfer is final", ArgsUsage: "FROM TO AMOUNT",
		Description: "FROM is a name or an address in the key store, TO a name or any address.\n" +
			"AMOUNT is in coins unless it has a unit: 1.5, 100gwei, 5wei, 1.5coin.",
		Flags: []cli.Flag{
			rpcFlag(), keystoreFlag(), passwordFlag(), jsonFlag(),
			&cli.BoolFlag{Name: "async", Usage: "do not wait for finality", DisableDefaultText: true},
			timeoutFlag(),
			&cli.Uint64Flag{Name: "nonce", Usage: "nonce `N` of the transaction", DefaultText: "the account's next"},
			&cli.StringFlag{Name: "max-fee", Usage: "most to pay per gas: a `PRICE` with its unit, as 2gwei", DefaultText: "twice the base fee and the tip"},
			&cli.StringFlag{Name: "priority-fee", Usage: "tip per gas: a `PRICE` with its unit", DefaultText: "the node's suggestion"},
			&cli.BoolFlag{Name: "legacy", Usage: "send a legacy transaction instead of EIP-1559", DisableDefaultText: true},
			&cli.StringFlag{Name: "gas-price", Usage: "price per gas of a legacy transaction: a `PRICE` with its unit", DefaultText: "the node's suggestion"},
			&cli.Uint64Flag{Name: "gas-limit", Usage: "most `GAS` to use", DefaultText: "21000, with data the node's estimate"},
			&cli.StringFlag{Name: "data", Usage: "calldata: 0x and `HEX` digits"},
			&cli.Uint64Flag{Name: "chain-id", Usage: "refuse a node of a chain other than `ID`", DefaultText: "any chain", EnvVars: []string{"CAIRN_CHAIN_ID"}},
		},
		Action: action(t.send),
	}
}

// transfer reads the command line; nothing is asked of anyone yet.
func transfer(c *cli.Context, store *wallet.KeyStore) (wallet.Account, wallet.Transfer, error) {
	var tr wallet.Transfer
	from, err := store.Find(c.Args().Get(0))
	if err != nil {
		return from, tr, fmt.Errorf("FROM: %w", err)
	}
	tr.From, tr.GasLimit, tr.ChainID = from.Address, c.Uint64("gas-limit"), c.Uint64("chain-id")
	tr.Legacy = c.Bool("legacy") || c.IsSet("gas-price")
	if tr.To, err = store.Address(c.Args().Get(1)); err != nil {
		return from, tr, fmt.Errorf("TO: %w", err)
	}
	if tr.Value, err = wallet.ParseAmount(c.Args().Get(2)); err != nil {
		return from, tr, fmt.Errorf("AMOUNT: %w", err)
	}
	for _, f := range []struct {
		flag string
		into **uint256.Int
	}{{"max-fee", &tr.MaxFee}, {"priority-fee", &tr.PriorityFee}, {"gas-price", &tr.GasPrice}} {
		if !c.IsSet(f.flag) {
			continue
		}
		if *f.into, err = wallet.ParsePrice(c.String(f.flag)); err != nil {
			return from, tr, fmt.Errorf("--%s: %w", f.flag, err)
		}
	}
	if c.IsSet("nonce") {
		nonce := c.Uint64("nonce")
		tr.Nonce = &nonce
	}
	if c.IsSet("data") {
		if tr.Data, err = hexutil.Decode(c.String("data")); err != nil {
			return from, tr, args.Usagef("--data: %v", err)
		}
	}
	return from, tr, checkTimeout(c)
}

func (t *terminal) send(c *cli.Context) error {
	store := wallet.OpenKeyStore(c.String("keystore"))
	from, tr, err := transfer(c, store)
	if err != nil {
		return err
	}
	client, err := dial(c)
	if err != nil {
		return err
	}
	defer client.Close()
	draft, err := client.Prepare(c.Context, tr)
	if err != nil {
		return err
	}
	if n := draft.Transaction.Nonce(); n > draft.Next {
		t.warn("nonce %d waits for transactions with the nonces %d to %d", n, draft.Next, n-1)
	}
	key, err := t.unlock(c, store, from)
	if err != nil {
		return err
	}
	tx, err := draft.Sign(key)
	if err != nil {
		return err
	}
	return t.submit(c, client, draft, tx)
}

func (t *terminal) submit(c *cli.Context, client *wallet.Client, draft *wallet.Draft, tx *types.Transaction) error {
	began := time.Now()
	err := client.Submit(c.Context, tx)
	lost := errors.Is(err, wallet.ErrUnreachable)
	switch {
	case lost && c.Bool("async"):
		return fmt.Errorf("%w; the node may have transaction %s or not, look with: cairn tx %s", err, tx.Hash(), tx.Hash())
	case lost:
		// It answered a moment ago. Waiting sends the transaction again.
		t.warn("%v; will send %s again", err, tx.Hash())
	case err != nil:
		return err
	default:
		fmt.Fprintf(t.stderr, "sent %s\n", tx.Hash())
	}
	if c.Bool("async") {
		return t.showSent(c, draft, tx, nil, 0)
	}
	r, err := t.wait(c, client, tx.Hash(), &wallet.Pending{From: draft.From, Transaction: tx})
	if err != nil {
		// Whoever reads stdout still learns the hash, for it may become final.
		if errors.Is(err, wallet.ErrNotFinal) {
			err = errors.Join(t.showSent(c, draft, tx, nil, 0), err)
		}
		return err
	}
	if err := t.showSent(c, draft, tx, r, time.Since(began)); err != nil {
		return err
	}
	return r.Err()
}

// showSent prints a transfer; r is nil while it is pending.
func (t *terminal) showSent(c *cli.Context, draft *wallet.Draft, tx *types.Transaction, r *wallet.Receipt, took time.Duration) error {
	value, _ := uint256.FromBig(tx.Value())
	data := sendJSON{
		Hash: tx.Hash(), ChainID: draft.ChainID, From: draft.From, To: *tx.To(), Wei: value.Dec(),
		Coins: wallet.FormatCoins(value), Nonce: tx.Nonce(), Status: "pending",
	}
	rows := []row{
		{"hash", tx.Hash().Hex()},
		{"from", draft.From.Hex()},
		{"to", tx.To().Hex()},
		{"amount", wallet.FormatShort(value)},
		{"nonce", fmt.Sprint(tx.Nonce())},
	}
	status := "pending"
	if r != nil {
		fee, price := r.Fee().Dec(), r.EffectiveGasPrice.Dec()
		data.Status, data.BlockNumber, data.BlockHash, data.GasUsed = receiptStatus(r), &r.Height, &r.BlockHash, &r.GasUsed
		data.FeeWei, data.EffectiveGasPriceWei = &fee, &price
		rows = append(rows, row{"fee", wallet.FormatShort(r.Fee())},
			row{"block", fmt.Sprintf("%d  %s", r.Height, r.BlockHash.Hex())})
		status = fmt.Sprintf("%s after %d ms", data.Status, took.Milliseconds())
	}
	return t.show(c, data, append(rows, row{"status", status})...)
}
