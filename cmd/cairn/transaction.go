package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cairn/cmd/internal/args"
	"cairn/crypto"
	"cairn/wallet"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/holiman/uint256"
	"github.com/urfave/cli/v2"
)

type transactionJSON struct {
	Hash           crypto.Hash     `json:"hash"`
	ChainID        uint64          `json:"chainId"`
	Type           uint8           `json:"type"`
	From           crypto.Address  `json:"from"`
	To             *crypto.Address `json:"to"`
	Wei            string          `json:"wei"`
	Coins          string          `json:"coins"`
	Nonce          uint64          `json:"nonce"`
	GasLimit       uint64          `json:"gasLimit"`
	MaxFeeWei      string          `json:"maxFeeWei"`
	PriorityFeeWei string          `json:"priorityFeeWei"`
	Data           hexutil.Bytes   `json:"data"`
	Status         string          `json:"status"` // pending or final
	BlockNumber    *uint64         `json:"blockNumber"`
	BlockHash      *crypto.Hash    `json:"blockHash"`
	Index          *uint64         `json:"index"`
}

func (t *terminal) txCommand() *cli.Command {
	return &cli.Command{
		Name: "tx", Usage: "show a transaction", ArgsUsage: "HASH",
		Flags: []cli.Flag{rpcFlag(), jsonFlag()},
		Action: action(func(c *cli.Context) error {
			hash, err := crypto.ParseHash(c.Args().First())
			if err != nil {
				return err
			}
			client, err := dial(c)
			if err != nil {
				return err
			}
			defer client.Close()
			tx, err := client.Transaction(c.Context, hash)
			if err != nil {
				return err
			}
			return t.showTransaction(c, tx)
		}),
	}
}

func (t *terminal) showTransaction(c *cli.Context, tx *wallet.Transaction) error {
	value, _ := uint256.FromBig(tx.Value())
	maxFee, _ := uint256.FromBig(tx.GasFeeCap())
	tip, _ := uint256.FromBig(tx.GasTipCap())
	data := transactionJSON{
		Hash: tx.Hash(), ChainID: tx.ChainId().Uint64(), Type: tx.Type(), From: tx.From, To: tx.To(),
		Wei: value.Dec(), Coins: wallet.FormatCoins(value), Nonce: tx.Nonce(), GasLimit: tx.Gas(),
		MaxFeeWei: maxFee.Dec(), PriorityFeeWei: tip.Dec(), Data: append([]byte{}, tx.Data()...), Status: "pending",
	}
	to, block := "-", "-"
	if tx.To() != nil {
		to = tx.To().Hex()
	}
	if tx.Final {
		data.Status, data.BlockNumber, data.BlockHash, data.Index = "final", &tx.Height, &tx.BlockHash, &tx.Index
		block = fmt.Sprintf("%d  %s  index %d", tx.Height, tx.BlockHash.Hex(), tx.Index)
	}
	rows := []row{
		{"hash", tx.Hash().Hex()},
		{"from", tx.From.Hex()},
		{"to", to},
		{"amount", wallet.FormatShort(value)},
		{"nonce", fmt.Sprint(tx.Nonce())},
		{"gas limit", fmt.Sprint(tx.Gas())},
		{"max fee", wallet.FormatShort(maxFee) + " per gas"},
		{"tip", wallet.FormatShort(tip) + " per gas"},
	}
	if n := len(tx.Data()); n > 0 {
		rows = append(rows, row{"data", fmt.Sprintf("%d bytes", n)})
	}
	return t.show(c, data, append(rows, row{"status", data.Status}, row{"block", block})...)
}

type receiptJSON struct {
	Hash                 crypto.Hash    `json:"hash"`
	From                 crypto.Address `json:"from"`
	To                   crypto.Address `json:"to"`
	Status               string         `json:"status"` // final or failed
	BlockNumber          uint64         `json:"blockNumber"`
	BlockHash            crypto.Hash    `json:"blockHash"`
	Index                uint64         `json:"index"`
	GasUsed              uint64         `json:"gasUsed"`
	EffectiveGasPriceWei string         `json:"effectiveGasPriceWei"`
	FeeWei               string         `json:"feeWei"`
}

func timeoutFlag() cli.Flag {
	return &cli.DurationFlag{Name: "timeout", Usage: "how long to wait for finality: a `TIME` as 30s or 5m", Value: time.Minute}
}

func checkTimeout(c *cli.Context) error {
	if c.Duration("timeout") <= 0 {
		return args.Usagef("--timeout must be above zero")
	}
	return nil
}

func (t *terminal) receiptCommand() *cli.Command {
	return &cli.Command{
		Name: "receipt", Usage: "show what a final transaction did", ArgsUsage: "HASH",
		Flags: []cli.Flag{
			rpcFlag(), jsonFlag(),
			&cli.BoolFlag{Name: "wait", Usage: "wait until the transaction is final", DisableDefaultText: true}, timeoutFlag(),
		},
		Action: action(func(c *cli.Context) error {
			hash, err := crypto.ParseHash(c.Args().First())
			if err != nil {
				return err
			}
			if err := checkTimeout(c); err != nil {
				return err
			}
			client, err := dial(c)
			if err != nil {
				return err
			}
			defer client.Close()
			r, err := client.Receipt(c.Context, hash)
			if errors.Is(err, wallet.ErrNotFound) && c.Bool("wait") {
				r, err = t.wait(c, client, hash, nil)
			}
			if errors.Is(err, wallet.ErrNotFound) {
				switch tx, txErr := client.Transaction(c.Context, hash); {
				case txErr == nil && !tx.Final:
					err = fmt.Errorf("%w: the transaction is pending, wait for it with --wait", err)
				case errors.Is(txErr, wallet.ErrNotFound):
					err = fmt.Errorf("%w: this node does not know the transaction; one that joined by a snapshot lacks those before it", err)
				}
			}
			if err != nil {
				return err
			}
			if err := t.showReceipt(c, r); err != nil {
				return err
			}
			return r.Err()
		}),
	}
}

func (t *terminal) showReceipt(c *cli.Context, r *wallet.Receipt) error {
	data := receiptJSON{
		Hash: r.Hash, From: r.From, To: r.To, Status: receiptStatus(r), BlockNumber: r.Height, BlockHash: r.BlockHash,
		Index: r.Index, GasUsed: r.GasUsed, EffectiveGasPriceWei: r.EffectiveGasPrice.Dec(), FeeWei: r.Fee().Dec(),
	}
	return t.show(c, data,
		row{"hash", r.Hash.Hex()},
		row{"from", r.From.Hex()},
		row{"to", r.To.Hex()},
		row{"status", data.Status},
		row{"block", fmt.Sprintf("%d  %s  index %d", r.Height, r.BlockHash.Hex(), r.Index)},
		row{"gas used", fmt.Sprint(r.GasUsed)},
		row{"fee", wallet.FormatShort(r.Fee())})
}

func receiptStatus(r *wallet.Receipt) string {
	if r.Status == 1 {
		return "final"
	}
	return "failed"
}

// wait waits for finality as long as --timeout says, and says on a timeout how
// to go on.
func (t *terminal) wait(c *cli.Context, client *wallet.Client, hash crypto.Hash, p *wallet.Pending) (*wallet.Receipt, error) {
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	r, err := client.WaitFinal(ctx, hash, p, func(s string) { t.warn("%s", s) })
	goOn := fmt.Sprintf("it may still become final, go on with: cairn receipt %s --wait", hash)
	switch {
	case errors.Is(err, wallet.ErrNotFinal):
		err = fmt.Errorf("waited %s: %w; %s", c.Duration("timeout"), err, goOn)
	case errors.Is(err, context.Canceled):
		err = codedError{errors.New("interrupted; " + goOn), exitInterrupted}
	}
	return r, err
}
