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
	Verified             bool           `json:"verified"` // against --genesis
}

func (t *terminal) sendCommand() *cli.Command {
	return &cli.Command{
		Name: "send", Usage: "send coins and wait until the transfer is final", ArgsUsage: "FROM TO AMOUNT",
		Description: "FROM is a name or an address in the key store, TO a name or any address.\n" +
			"AMOUNT is in coins unless it has a unit: 1.5, 100gwei, 5wei, 1.5coin.",
		Flags:  append(transactionFlags(), &cli.StringFlag{Name: "data", Usage: "calldata: 0x and `HEX` digits"}),
		Action: action(t.send),
	}
}

// transactionFlags are those of every command that sends a transaction.
func transactionFlags() []cli.Flag {
	return []cli.Flag{
		rpcFlag(), keystoreFlag(), passwordFlag(), jsonFlag(), genesisFlag(),
		&cli.BoolFlag{Name: "async", Usage: "do not wait for finality", DisableDefaultText: true},
		timeoutFlag(),
		&cli.Uint64Flag{Name: "nonce", Usage: "nonce `N` of the transaction", DefaultText: "the account's next"},
		&cli.StringFlag{Name: "max-fee", Usage: "most to pay per gas: a `PRICE` with its unit, as 2gwei", DefaultText: "twice the base fee and the tip"},
		&cli.StringFlag{Name: "priority-fee", Usage: "tip per gas: a `PRICE` with its unit", DefaultText: "the node's suggestion"},
		&cli.BoolFlag{Name: "legacy", Usage: "send a legacy transaction instead of EIP-1559", DisableDefaultText: true},
		&cli.StringFlag{Name: "gas-price", Usage: "price per gas of a legacy transaction: a `PRICE` with its unit", DefaultText: "the node's suggestion"},
		&cli.Uint64Flag{Name: "gas-limit", Usage: "most `GAS` to use", DefaultText: "21000, with data the node's estimate"},
		&cli.Uint64Flag{Name: "chain-id", Usage: "refuse a node of a chain other than `ID`", DefaultText: "any chain", EnvVars: []string{"CAIRN_CHAIN_ID"}},
	}
}

// transfer reads the command line; nothing is asked of anyone yet.
func transfer(c *cli.Context, store *wallet.KeyStore) (wallet.Account, wallet.Transfer, error) {
	from, tr, err := transaction(c, store)
	if err != nil {
		return from, tr, err
	}
	if tr.To, err = store.Address(c.Args().Get(1)); err != nil {
		return from, tr, fmt.Errorf("TO: %w", err)
	}
	if tr.Value, err = wallet.ParseAmount(c.Args().Get(2)); err != nil {
		return from, tr, fmt.Errorf("AMOUNT: %w", err)
	}
	if c.IsSet("data") {
		if tr.Data, err = hexutil.Decode(c.String("data")); err != nil {
			return from, tr, args.Usagef("--data: %v", err)
		}
	}
	return from, tr, nil
}

// transaction reads FROM, the first argument, and the transactionFlags.
func transaction(c *cli.Context, store *wallet.KeyStore) (wallet.Account, wallet.Transfer, error) {
	var tr wallet.Transfer
	from, err := store.Find(c.Args().Get(0))
	if err != nil {
		return from, tr, fmt.Errorf("FROM: %w", err)
	}
	tr.From, tr.GasLimit, tr.ChainID = from.Address, c.Uint64("gas-limit"), c.Uint64("chain-id")
	tr.Legacy = c.Bool("legacy") || c.IsSet("gas-price")
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
	s, err := t.start(c, client, from, &tr)
	if err != nil {
		return err
	}
	if err := s.prepare(c, tr, store); err != nil {
		return err
	}
	return s.finish(c, s.showSent)
}

// sending is one transaction on its way.
type sending struct {
	*terminal
	client   *wallet.Client
	verifier *wallet.Verifier // nil without --genesis
	from     wallet.Account
	draft    *wallet.Draft
	tx       *types.Transaction
	took     time.Duration // until it was final
}

// start checks the node's network before anything else is asked of it, if there
// is a genesis file to check it by.
func (t *terminal) start(c *cli.Context, client *wallet.Client, from wallet.Account, tr *wallet.Transfer) (*sending, error) {
	s := &sending{terminal: t, client: client, from: from}
	verifier, err := openVerifier(c, client)
	if err != nil || verifier == nil {
		return s, err
	}
	if tr.ChainID != 0 && tr.ChainID != verifier.ChainID() {
		return nil, args.Usagef("--chain-id %d, but --genesis is of chain %d", tr.ChainID, verifier.ChainID())
	}
	s.verifier, tr.ChainID = verifier, verifier.ChainID()
	return s, verifier.CheckNetwork(c.Context)
}

// prepare asks the node for what is open and signs.
func (s *sending) prepare(c *cli.Context, tr wallet.Transfer, store *wallet.KeyStore) error {
	var err error
	if s.draft, err = s.client.Prepare(c.Context, tr); err != nil {
		return err
	}
	if n := s.draft.Transaction.Nonce(); n > s.draft.Next {
		s.warn("nonce %d waits for transactions with the nonces %d to %d", n, s.draft.Next, n-1)
	}
	key, err := s.unlock(c, store, s.from)
	if err != nil {
		return err
	}
	s.tx, err = s.draft.Sign(key)
	return err
}

// finish submits the transaction, waits until it is final and shows it. show
// prints a transaction; r is nil while it is pending.
func (s *sending) finish(c *cli.Context, show func(c *cli.Context, r *wallet.Receipt) error) error {
	began, hash := time.Now(), s.tx.Hash()
	err := s.client.Submit(c.Context, s.tx)
	lost := errors.Is(err, wallet.ErrUnreachable)
	switch {
	case lost && c.Bool("async"):
		return fmt.Errorf("%w; the node may have transaction %s or not, look with: cairn tx %s", err, hash, hash)
	case lost:
		// It answered a moment ago. Waiting sends the transaction again.
		s.warn("%v; will send %s again", err, hash)
	case err != nil:
		return err
	default:
		fmt.Fprintf(s.stderr, "sent %s\n", hash)
	}
	if c.Bool("async") {
		return show(c, nil)
	}
	r, err := s.wait(c, s.client, hash, &wallet.Pending{From: s.draft.From, Transaction: s.tx})
	if err != nil {
		// Whoever reads stdout still learns the hash, for it may become final.
		if errors.Is(err, wallet.ErrNotFinal) {
			err = errors.Join(show(c, nil), err)
		}
		return err
	}
	if s.verifier != nil {
		if r, err = s.verifier.Receipt(c.Context, hash); err != nil {
			if errors.Is(err, wallet.ErrNotFound) {
				err = fmt.Errorf("%w: %w", wallet.ErrUnproven, err)
			}
			return errors.Join(show(c, nil), fmt.Errorf("the node says that transaction %s is final, but: %w", hash, err))
		}
	}
	s.took = time.Since(began)
	if err := show(c, r); err != nil {
		return err
	}
	return r.Err()
}

// showSent prints a transfer.
func (s *sending) showSent(c *cli.Context, r *wallet.Receipt) error {
	tx := s.tx
	value, _ := uint256.FromBig(tx.Value())
	data := sendJSON{
		Hash: tx.Hash(), ChainID: s.draft.ChainID, From: s.draft.From, To: *tx.To(), Wei: value.Dec(),
		Coins: wallet.FormatCoins(value), Nonce: tx.Nonce(), Status: "pending",
	}
	rows := []row{
		{"hash", tx.Hash().Hex()},
		{"from", s.draft.From.Hex()},
		{"to", tx.To().Hex()},
		{"amount", wallet.FormatShort(value)},
		{"nonce", fmt.Sprint(tx.Nonce())},
	}
	if r != nil {
		fee, price := r.Fee().Dec(), r.EffectiveGasPrice.Dec()
		data.Status, data.BlockNumber, data.BlockHash, data.GasUsed = receiptStatus(r), &r.Height, &r.BlockHash, &r.GasUsed
		data.FeeWei, data.EffectiveGasPriceWei, data.Verified = &fee, &price, s.verifier != nil
	}
	return s.show(c, data, append(rows, s.outcome(r)...)...)
}

// outcome are the last lines of a transaction for people.
func (s *sending) outcome(r *wallet.Receipt) []row {
	if r == nil {
		return []row{{"status", "pending"}}
	}
	status := fmt.Sprintf("%s after %d ms", receiptStatus(r), s.took.Milliseconds())
	if s.verifier != nil {
		status += ", verified"
	}
	return []row{
		{"fee", wallet.FormatShort(r.Fee())},
		{"block", fmt.Sprintf("%d  %s", r.Height, r.BlockHash.Hex())},
		{"status", status},
	}
}
